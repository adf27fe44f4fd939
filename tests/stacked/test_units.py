"""Which neurons of a model may change places: permuted, it computes the same function."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from lmc_lab.landscape.permutations import Block, composed, identity, permuted, random_permutation
from lmc_lab.models.conv1d import ConvNet1d
from lmc_lab.models.lenet import LeNet
from lmc_lab.models.resnet20 import ResNet20
from lmc_lab.models.siren import Siren
from lmc_lab.stacked.graph import UnsupportedModel
from lmc_lab.stacked.units import permutable_blocks
from written import Written

IMAGE, SIGNAL = (3, 32, 32), (1, 40)
SHIPPED = {
    "lenet": (LeNet, IMAGE, [6, 16, 120, 84]),
    "conv1d": (ConvNet1d, SIGNAL, [25, 25, 25]),
    "siren": (Siren, (1,), [256] * 4),
    # A stage, what the next one's padding adds to it, and the inner channels of each block.
    "resnet20-batch": (ResNet20, IMAGE, [*[16] * 5, *[32] * 4, *[64] * 3]),
    "resnet20-none": (partial(ResNet20, norm="none"), IMAGE, [*[16] * 5, *[32] * 4, *[64] * 3]),
    # Inside groups of 2, 4 and 8: 8 of them in each inner layer; in a stage those that are not tied to the one before.
    "resnet20-group": (partial(ResNet20, norm="group"), IMAGE, None),
}


def shared_layer(m, x):
    """One matrix that is used twice, on the same units."""
    hidden = F.relu(m.first(x))
    return m.out(F.relu(m.inner(F.relu(m.inner(hidden)))))


WRITTEN = {
    "a residual sum of rows": (
        lambda: Written(
            lambda m, x: m.out((hidden := torch.tanh(m.first(x))) + m.inner(hidden)),
            first=nn.Linear(4, 9),
            inner=nn.Linear(9, 9),
            out=nn.Linear(9, 3),
        ),
        (4,),
        [9],
    ),
    "a layer that is used twice": (
        lambda: Written(shared_layer, first=nn.Linear(4, 9), inner=nn.Linear(9, 9), out=nn.Linear(9, 3)),
        (4,),
        [9],
    ),
    "norms of rows": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(12, 10), nn.LayerNorm(10), nn.GELU(), nn.Linear(10, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)
        ),
        (3, 4),
        [8, 10],
    ),
    "a norm of a flattened map": (
        lambda: nn.Sequential(nn.Conv1d(2, 6, 3), nn.Flatten(), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 3)),
        (2, 6),
        [6],
    ),
    "a mean over space": (
        lambda: Written(lambda m, x: m.out(m.conv(x).mean((2, 3))), conv=nn.Conv2d(3, 7, 3), out=nn.Linear(7, 2)),
        (3, 5, 5),
        [7],
    ),
    "a sum with the input": (
        lambda: Written(
            lambda m, x: m.out(x + m.inner(F.relu(m.first(x)))),
            first=nn.Linear(4, 9),
            inner=nn.Linear(9, 4),
            out=nn.Linear(4, 3),
        ),
        (4,),
        [9],
    ),
    "a grouped convolution": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 6, 3), nn.Conv1d(6, 6, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 3)
        ),
        (2, 6),
        [5],
    ),
    "one group, and a channel a group": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 6, 3), nn.GroupNorm(1, 6), nn.Conv1d(6, 4, 3), nn.GroupNorm(4, 4), nn.Flatten(), nn.Linear(8, 3)
        ),
        (2, 6),
        [4, 6],
    ),
}  # fmt: skip


def randomised(build):
    """The model in float64 and eval mode, all of its parameters and moments unlike each other."""
    torch.manual_seed(0)
    model = build().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn_like(buffer))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand_like(buffer))
    return model


def change(model, blocks, inputs):
    """By how much outputs change where all units are permuted at random, and by how much parameters do."""
    states = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    order = random_permutation(blocks, generator=torch.Generator().manual_seed(1))
    moved = permuted(states, blocks, order)
    with torch.no_grad():
        assert model(inputs).std(dim=0).min() > 1e-4  # outputs depend on inputs
        difference = (functional_call(model, moved, (inputs,)) - model(inputs)).abs().max()
    return float(difference), sum(not torch.equal(moved[name], states[name]) for name in states)


@pytest.mark.parametrize(("build", "shape", "sizes"), [*SHIPPED.values(), *WRITTEN.values()], ids=[*SHIPPED, *WRITTEN])
def test_a_permuted_network_computes_the_same_function(build, shape, sizes):
    model = randomised(build)
    blocks = permutable_blocks(model)
    if sizes is not None:
        assert sorted(map(len, blocks)) == sorted(sizes)
    inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    difference, num_moved = change(model, blocks, inputs)
    assert difference < 1e-12 and num_moved > 2


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_every_hidden_tensor_of_a_residual_net_moves(norm):
    model = randomised(partial(ResNet20, norm=norm))
    on_axes = {axis.tensor for block in permutable_blocks(model) for axis in block.axes}
    counted = {name for name, _ in model.named_buffers() if name.endswith("num_batches_tracked")}
    names = {name for name, _ in [*model.named_parameters(), *model.named_buffers()]} - counted
    assert names - on_axes == {"classifier.bias"}  # on the outputs alone


@pytest.mark.parametrize("name", ["conv1d", "resnet20-batch"])
def test_a_missing_tie_changes_the_function(name):
    build, shape, _ = SHIPPED[name]
    model = randomised(build)
    first, *others = permutable_blocks(model)
    inputs = torch.randn(2, *shape, dtype=torch.float64)
    for left_out in range(len(first.axes)):
        torn = Block(first.axes[:left_out] + first.axes[left_out + 1 :])
        assert change(model, [torn, *others], inputs)[0] > 1e-6


def test_a_wrong_index_on_a_flattened_axis_changes_the_function():
    model = randomised(ConvNet1d)
    blocks = permutable_blocks(model)
    ((number, axis),) = [
        (number, axis) for number, block in enumerate(blocks) for axis in block.axes if axis.indices.shape[1] > 1
    ]
    assert axis.tensor == "classifier.1.weight" and axis.indices[1].tolist() == list(range(5, 10))
    across = replace(axis, indices=torch.arange(125).view(5, 25).T)  # as if indices were followed by channels
    axes = tuple(across if each is axis else each for each in blocks[number].axes)
    assert (
        change(model, [*blocks[:number], Block(axes), *blocks[number + 1 :]], torch.randn(2, 1, 40).double())[0] > 1e-6
    )


def test_groups_of_a_norm_keep_their_channels():
    blocks = permutable_blocks(nn.Sequential(nn.Conv1d(1, 6, 3), nn.GroupNorm(2, 6), nn.Conv1d(6, 1, 3)))
    assert [block.axes[0].indices[:, 0].tolist() for block in blocks] == [[0, 1, 2], [3, 4, 5]]


def test_channels_that_a_shortcut_pads_change_places_among_themselves():
    axes = [axis for block in permutable_blocks(ResNet20()) for axis in block.axes]
    own = [axis for axis in axes if axis.tensor == "blocks.3.conv2.weight" and axis.dim == -4]
    of_second = [axis.indices[:, 0].tolist() for axis in own]
    assert sorted(of_second) == [[*range(8), *range(24, 32)], list(range(8, 24))]


def test_permutations_compose_and_have_inverses():
    model = randomised(LeNet)
    blocks, states = permutable_blocks(model), dict(model.named_parameters())
    one, other = (random_permutation(blocks, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    twice = permuted(permuted(states, blocks, one), blocks, other)
    at_once = permuted(states, blocks, composed(one, other))
    assert all(torch.equal(twice[name], at_once[name]) for name in states)
    back = permuted(at_once, blocks, [order.argsort() for order in composed(one, other)])
    kept = permuted(states, blocks, identity(blocks))
    assert all(torch.equal(back[name], states[name]) and torch.equal(kept[name], states[name]) for name in states)
    stacked = {name: torch.stack([tensor, -tensor]) for name, tensor in states.items()}  # of two networks
    both = permuted(stacked, blocks, one)
    assert all(torch.equal(both[name][1], -tensor) for name, tensor in permuted(states, blocks, one).items())


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Linear(2, 3), nn.Softmax(dim=1), nn.Linear(3, 2)), "Softmax"),
        (nn.Sequential(nn.Conv1d(1, 4, 3), nn.Linear(4, 2)), "it takes features, not a feature map"),
        (nn.Sequential(nn.Linear(2, 6), nn.MaxPool1d(2), nn.Linear(3, 2)), "it takes a feature map"),
        (nn.Sequential(nn.Conv1d(1, 4, 3), nn.LayerNorm(4), nn.Conv1d(4, 1, 3)), "not a feature map"),
        (Written(lambda m, x: m.b(m.a(x).view(-1, 4, 3).transpose(1, 2)), a=nn.Linear(2, 12), b=nn.Linear(4, 2)), "view"),
        (Written(lambda m, x: m.b(m.a(x)[:, :2]), a=nn.Linear(2, 4), b=nn.Linear(2, 2)), "expected slices of space"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_said(model, reason):
    with pytest.raises(UnsupportedModel, match=reason):
        permutable_blocks(model)
