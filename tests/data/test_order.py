from itertools import islice

import pytest
import torch

from lmc_lab.data.examples import Examples
from lmc_lab.data.order import DataOrder, Noise, Role, StepBatches, branch_order, trunk_order

PINNED = {
    "trunk": [11, 92, 3, 20, 13],
    "branch": [38, 6, 2, 60, 34],
    "noise": 7432190470832128292,
    "augmentation": 1800660794253556961,
}


def epoch_of(order, epoch):
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    return torch.cat([order.indices(step) for step in steps])


def test_an_epoch_shows_every_example_once_and_drops_the_incomplete_batch():
    order = trunk_order(0, 1003, 10)
    assert order.steps_per_epoch == 100
    assert len(set(epoch_of(order, 3).tolist())) == 1000


def test_no_two_seeds_epochs_roles_or_trunks_share_a_batch_order():
    orders = [trunk_order(trunk, 64, 8) for trunk in range(2)]
    orders += [branch_order(trunk, seed, 64, 8) for trunk in range(2) for seed in range(32)]
    seen = {tuple(epoch_of(order, epoch).tolist()) for order in orders for epoch in range(32)}
    assert len(seen) == len(orders) * 32


def test_orders_are_pinned():
    """Changing them would silently mix old and new endpoints in a mode."""
    assert trunk_order(0, 100, 5).indices(0).tolist() == PINNED["trunk"]
    assert branch_order(0, 1, 100, 5).indices(21).tolist() == PINNED["branch"]
    assert branch_order(0, 1, 100, 5).noise_seed(21) == PINNED["noise"]
    assert branch_order(0, 1, 100, 5).augmentation_seed(21) == PINNED["augmentation"]


@pytest.mark.parametrize("only", [None, *Noise])
def test_a_seed_may_name_one_kind_of_noise_and_all_else_is_the_trunks(only):
    branch, trunk = branch_order(1, 3, 100, 5, only), trunk_order(1, 100, 5)
    own = branch_order(1, 3, 100, 5)
    draws = {
        Noise.ORDER: lambda order: order.indices(21).tolist(),
        Noise.AUGMENTATION: lambda order: order.augmentation_seed(21),
        Noise.DROPOUT: lambda order: order.noise_seed(21),
    }
    for kind, drawn in draws.items():
        assert drawn(branch) == drawn(own if only in (None, kind) else trunk)
        assert drawn(own) != drawn(trunk)


def test_batches_begin_anywhere_and_are_those_of_the_order():
    examples = Examples(torch.arange(100), torch.arange(100), lambda x: x)
    order = branch_order(1, 2, 100, 8)
    found = [targets.tolist() for _, targets in islice(StepBatches(examples, order, 17), 30)]
    assert found == [order.indices(step).tolist() for step in range(17, 47)]


def test_noise_seeds_differ_between_steps_seeds_and_roles():
    orders = [DataOrder(role, trunk, seed, 100, 10) for role in Role for trunk in range(2) for seed in range(4)]
    assert len({order.noise_seed(step) for order in orders for step in range(50)}) == 50 * len(orders)


@pytest.mark.parametrize("epoch", [0, 7])
def test_the_order_is_uniform(epoch):
    """The first place of an epoch is every example equally often (chi-square over many seeds)."""
    counts = torch.zeros(10)
    for seed in range(2000):
        counts[branch_order(0, seed, 10, 1).indices(epoch * 10)] += 1
    assert ((counts - 200).square() / 200).sum() < 27.9  # 0.1 % point of chi-square with 9 degrees of freedom
