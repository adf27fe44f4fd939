"""Orders of neurons that make networks alike, against all orders there are and against copies whose order is known."""

from itertools import permutations, product

import pytest
import torch
from torch import nn

from lmc_lab.analyses.assignment import best_assignment
from lmc_lab.landscape.matching import match_jointly, match_weights, unit_products
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.landscape.permutations import Axis, Block, identity, permuted, random_permutation
from lmc_lab.models.conv1d import ConvNet1d
from lmc_lab.models.resnet20 import ResNet20
from lmc_lab.stacked.units import permutable_blocks


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small_networks(count, hidden=4):
    """Parameters (m, *shape) of networks with one hidden layer."""
    shapes = {"0.weight": (hidden, 3), "0.bias": (hidden,), "2.weight": (2, hidden), "2.bias": (2,)}
    draw = generator(3)
    return {name: torch.randn(count, *shape, generator=draw, dtype=torch.float64) for name, shape in shapes.items()}


def blocks_of_small(hidden=4):
    return permutable_blocks(nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, 2)))


def at(networks, i):
    return {name: tensor[i] for name, tensor in networks.items()}


def product_of(one, other):
    return float(sum((tensor * other[name]).sum() for name, tensor in one.items()))


def in_all_orders(network, blocks, hidden):
    return [permuted(network, blocks, [torch.tensor(order)]) for order in permutations(range(hidden))]


def test_of_one_hidden_layer_the_best_of_all_orders_is_found():
    networks, blocks = small_networks(2), blocks_of_small()
    order = match_weights(at(networks, 0), at(networks, 1), blocks, assign=best_assignment, generator=generator())
    found = product_of(at(networks, 0), permuted(at(networks, 1), blocks, order))
    best = max(product_of(at(networks, 0), each) for each in in_all_orders(at(networks, 1), blocks, 4))
    assert found == pytest.approx(best, rel=1e-12) and best > product_of(at(networks, 0), at(networks, 1))


@pytest.mark.parametrize(
    ("seed", "expected"),
    [(0, [[1, 3, 0, 5, 2, 4, 6], [5, 6, 4, 3, 1, 2, 0]]), (1, [[1, 3, 6, 5, 2, 4, 0], [3, 6, 4, 2, 1, 5, 0]])],
)
def test_orders_are_those_of_published_code(seed, expected):
    """`weight_matching.py` of github.com/themrzmaster/git-re-basin-pytorch at 0990961 finds these, at the same seeds."""
    model = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 3))
    numbers = torch.arange(sum(parameter.numel() for parameter in model.parameters()), dtype=torch.float64).square()
    layout = ParameterLayout.of(dict(model.named_parameters()))
    fixed, moved = (layout.unflatten(values) for values in (numbers.sin(), (2 * numbers).cos()))
    found = match_weights(fixed, moved, permutable_blocks(model), assign=best_assignment, generator=generator(seed))
    assert [order.tolist() for order in found] == expected


@pytest.mark.parametrize("build", [ConvNet1d, ResNet20])
def test_a_permuted_copy_aligns_back_exactly(build):
    torch.manual_seed(0)
    model = build()
    own, blocks = dict(model.named_parameters()), permutable_blocks(model)
    own = {name: tensor.detach() + 0.01 * torch.randn_like(tensor) for name, tensor in own.items()}  # norms are alike
    order = random_permutation(blocks, generator=generator(1))
    copy = permuted(own, blocks, order)
    found = match_weights(own, copy, blocks, assign=best_assignment, generator=generator())
    assert not any(map(torch.equal, order, identity(blocks)))
    assert all(torch.equal(back, taken.argsort()) for back, taken in zip(found, order, strict=True))


def test_a_network_that_is_as_alike_as_can_be_stays():
    networks, blocks = small_networks(1), blocks_of_small()
    own = at(networks, 0)
    order = match_weights(own, own, blocks, assign=best_assignment, generator=generator())
    assert all(map(torch.equal, order, identity(blocks)))


def test_what_a_linearised_score_makes_worse_is_not_taken():
    blocks = [Block((Axis("w", -2, torch.arange(2)[:, None]), Axis("w", -1, torch.arange(2)[:, None])))]
    fixed, moved = ({"w": torch.tensor([[0.0, 1.0], [1.0, last]])} for last in (1.0, 2.0))
    order = match_weights(fixed, moved, blocks, assign=lambda scores: torch.tensor([1, 0]), generator=generator())
    assert order[0].tolist() == [0, 1]


def test_copies_of_one_network_are_put_into_one_order():
    torch.manual_seed(0)
    model = ConvNet1d()
    own, blocks = {name: tensor.detach() for name, tensor in model.named_parameters()}, permutable_blocks(model)
    copies = [own] + [permuted(own, blocks, random_permutation(blocks, generator=generator(seed))) for seed in (1, 2)]
    networks = {name: torch.stack([copy[name] for copy in copies]) for name in own}
    orders = match_jointly(networks, blocks, assign=best_assignment, generator=generator())
    moved = [permuted(copy, blocks, order) for copy, order in zip(copies, orders, strict=True)]
    assert all(torch.equal(moved[0][name], each[name]) for each in moved[1:] for name in own)


def test_jointly_no_order_of_one_network_is_better_given_the_others():
    networks, blocks = small_networks(3, hidden=3), blocks_of_small(3)
    orders = match_jointly(networks, blocks, assign=best_assignment, generator=generator())
    moved = [permuted(at(networks, i), blocks, order) for i, order in enumerate(orders)]

    def total(each):
        return product_of(each[0], each[1]) + product_of(each[0], each[2]) + product_of(each[1], each[2])

    found = total(moved)
    for i, others in enumerate(([1, 2], [0, 2], [0, 1])):
        best = max(
            product_of(each, moved[others[0]]) + product_of(each, moved[others[1]])
            for each in in_all_orders(moved[i], blocks, 3)
        )
        kept = product_of(moved[i], moved[others[0]]) + product_of(moved[i], moved[others[1]])
        assert kept == pytest.approx(best, rel=1e-12)
    everything = product(*(in_all_orders(at(networks, i), blocks, 3) for i in range(3)))
    assert total([at(networks, i) for i in range(3)]) < found <= max(map(total, everything)) + 1e-9


def test_products_of_units_are_sums_over_examples_and_positions():
    first, second = (torch.randn(6, 5, generator=generator(seed), dtype=torch.float64) for seed in (1, 2))
    indices = torch.tensor([[0, 1], [2, 3], [4, 5]])
    slow = [
        [sum(first[i] @ second[j] for i, j in zip(own, other, strict=True)) for other in indices.tolist()]
        for own in indices.tolist()
    ]
    torch.testing.assert_close(unit_products(first, second, indices), torch.tensor(slow, dtype=torch.float64))
