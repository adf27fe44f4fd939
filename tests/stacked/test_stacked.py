"""Stacked models against the plain loop over models."""

import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import REPOSITORY
from lmc_lab.models.conv1d import ConvNet1d
from lmc_lab.models.lenet import LeNet
from lmc_lab.models.resnet20 import ResNet20
from lmc_lab.models.siren import Siren
from lmc_lab.stacked.activations import batch_first, batch_last
from lmc_lab.stacked.graph import NOTHING, UnsupportedModel, trace
from lmc_lab.stacked.layers import BUILDERS
from lmc_lab.stacked.model import BatchSizes, StackedModel
from lmc_lab.stacked.moments import batch_moments
from written import Written

States = dict[str, Tensor]
IMAGE, SIGNAL = (3, 32, 32), (1, 40)


def layer_norm_mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 20), nn.LayerNorm(20), nn.GELU(), nn.Linear(20, 3))


def conv(in_channels: int = 3, out_channels: int = 8, **settings: object) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, **settings)


ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet": (LeNet, IMAGE),
    "conv1d": (ConvNet1d, SIGNAL),
    "resnet20-batch": (ResNet20, IMAGE),
    "resnet20-group": (lambda: ResNet20(norm="group"), IMAGE),
    "resnet20-none": (lambda: ResNet20(norm="none"), IMAGE),
    "siren": (Siren, (1,)),
    "layer-norm-mlp": (layer_norm_mlp, (6,)),
}

FORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "functions": (
        lambda: Written(
            lambda m, x: m.out(torch.flatten(F.avg_pool2d(F.relu(F.max_pool2d(m.conv(x), 3, 2, 1)), 2), 1)),
            conv=conv(),
            out=nn.Linear(128, 5),
        ),
        (3, 16, 16),
    ),
    "view with size": (
        lambda: Written(lambda m, x: m.out(m.conv(x).view(x.size(0), -1)), conv=conv(), out=nn.Linear(200, 5)),
        (3, 5, 5),
    ),
    "reshape with shape": (
        lambda: Written(
            lambda m, x: m.out(m.conv(x).sigmoid().reshape(x.shape[0], 200)), conv=conv(), out=nn.Linear(200, 5)
        ),
        (3, 5, 5),
    ),
    "flattened input": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 2)), (3, 4)),
    "channel dimension added": (
        lambda: Written(lambda m, x: m.conv(x.unsqueeze(1)).mean(-1), conv=nn.Conv1d(1, 4, 3)),
        (9,),
    ),
    "mean over space": (
        lambda: Written(lambda m, x: m.out(F.silu(m.conv(x)).mean((2, 3))), conv=conv(), out=nn.Linear(8, 5)),
        (3, 6, 6),
    ),
    "adaptive pooling": (
        lambda: nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
        (3, 6, 6),
    ),
    "odd size, 2x2 pooling": (lambda: nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2)), (3, 7, 9)),
    "ceil mode": (lambda: nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)), (3, 7, 9)),
    "pooled and used beside it": (
        lambda: Written(lambda m, x: F.max_pool2d(h := m.conv(x), 2).mean((2, 3)) + h.mean((2, 3)), conv=conv()),
        (3, 6, 6),
    ),
    "pooled input and slices": (
        lambda: Written(lambda m, x: F.max_pool2d(m.conv(F.max_pool2d(x, 2))[:, :, 1:, 1:], 2), conv=conv()),
        (3, 12, 14),
    ),
    "pooling between BatchNorms": (
        lambda: nn.Sequential(
            conv(), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.BatchNorm2d(8), conv(8, 4), nn.BatchNorm2d(4)
        ),
        (3, 6, 6),
    ),
    "residual in place": (
        lambda: Written(
            lambda m, x: m.block(m.relu(m.conv(x))), conv=conv(), relu=nn.ReLU(inplace=True), block=Block()
        ),
        (3, 6, 6),
    ),
    "one layer used twice": (
        lambda: Written(lambda m, x: m.conv(m.conv(x).relu()) * 2 - 1, conv=conv(3, 3)),
        (3, 6, 6),
    ),
    "grouped, dilated, no bias": (
        lambda: nn.Sequential(conv(), nn.Conv2d(8, 4, 3, groups=2, dilation=2, bias=False), nn.LeakyReLU(0.1)),
        (3, 8, 8),
    ),
    "same padding": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3, padding="same"), nn.Conv1d(4, 3, 1)), (2, 8)),
    "BatchNorm before its convolution": (
        lambda: nn.Sequential(
            conv(), nn.ReLU(), nn.BatchNorm2d(8), conv(8, 4, bias=False), nn.BatchNorm2d(4, affine=False)
        ),
        (3, 6, 6),
    ),
    "convolution used beside its BatchNorm": (
        lambda: Written(lambda m, x: torch.add(m.norm(h := m.conv(x)), h), conv=conv(), norm=nn.BatchNorm2d(8)),
        (3, 6, 6),
    ),
    "BatchNorm of rows": (
        lambda: nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2, bias=False)
        ),
        (6,),
    ),
    "norms and pools of signals": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 8, 3),
            nn.BatchNorm1d(8),
            nn.Identity(),
            nn.AvgPool1d(2),
            nn.Conv1d(8, 8, 3, padding=1),
            nn.GroupNorm(4, 8),
            nn.MaxPool1d(2),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(8, 3),
        ),
        (2, 20),
    ),
    "dropout as a function": (
        lambda: Written(
            lambda m, x: F.dropout(F.dropout(m.out(x), 0.3, m.training), training=m.training), out=nn.Linear(6, 2)
        ),
        (6,),
    ),
    "padding and slices of signals": (
        lambda: Written(lambda m, x: F.pad(m.conv(x)[:, :, ::2], (1, 2, 3, 1)), conv=nn.Conv1d(2, 4, 3)),
        (2, 11),
    ),
    "padding of space": (lambda: Written(lambda m, x: F.pad(m.conv(x), (1, 2), value=3.0), conv=conv()), (3, 6, 6)),
    "batch last: pools": (
        lambda: nn.Sequential(
            nn.MaxPool2d(2, 1),
            nn.Conv2d(3, 8, 4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 4, groups=2, dilation=(1, 2)),
            nn.BatchNorm2d(8),
            nn.MaxPool2d(3, 1, 1, dilation=2),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 6, (4, 5), bias=False),
            nn.AvgPool2d(2, 1, ceil_mode=True),
            nn.AdaptiveAvgPool2d((None, 2)),
            nn.Flatten(),
            nn.Linear(24, 4),
        ),
        (3, 26, 34),
    ),
    "batch last: padding, slices, sums and groups": (
        lambda: Written(
            lambda m, x: (
                m.norm(F.pad(h := m.conv(x), (1, -1, 0, 1, 2, 0)))[:, :, 1:-1, ::2].mean((2, 3))
                + F.pad(h + F.gelu(h), (0, 0, 0, 0, 1, 1)).mean((-1, -2), keepdim=True).flatten(1)
            ),
            conv=nn.Conv2d(3, 4, 5),
            norm=nn.GroupNorm(2, 6),
        ),
        (3, 9, 8),
    ),
    "batch last: images out": (lambda: nn.Sequential(nn.Conv2d(2, 4, 4), nn.Sigmoid(), nn.Conv2d(4, 2, 4)), (2, 9, 8)),
    "the batch size taken first": (
        lambda: Written(
            lambda m, x: [size := x.size(0), m.out(m.conv(x).view(size, -1))][1], conv=conv(), out=nn.Linear(200, 5)
        ),
        (3, 5, 5),
    ),
    "the input beside its maps": (
        lambda: Written(
            lambda m, x: m.out(m.conv(x).flatten(1)) + m.skip(x.flatten(1)),
            conv=conv(),
            out=nn.Linear(200, 4),
            skip=nn.Linear(75, 4),
        ),
        (3, 5, 5),
    ),
    "rows with time": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.SiLU(), nn.LayerNorm((5, 8)), nn.Linear(8, 4), nn.Flatten()),
        (5, 6),
    ),
}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = conv(8, 8), nn.BatchNorm2d(8), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.conv(x))
        out += x
        return self.relu(out)


def stack(make: Callable[[], nn.Module], num_models: int, dtype: torch.dtype) -> tuple[nn.Module, States]:
    """Returns a model and the parameters and buffers of several, all of them away from their initial zeros and ones."""
    torch.manual_seed(0)
    models = [make().to(dtype) for _ in range(num_models)]
    for model in models:
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif tensor.is_floating_point():
                tensor.add_(torch.randn_like(tensor), alpha=0.01)
    states = [model.state_dict() for model in models]
    return models[0], {name: torch.stack([state[name] for state in states]) for name in states[0]}


def one_by_one(model: nn.Module, thetas: States, x: Tensor) -> Tensor:
    model = copy.deepcopy(model).eval()
    count = len(next(iter(thetas.values())))
    with torch.no_grad():
        outputs = [functional_call(model, {name: t[i] for name, t in thetas.items()}, (x,)) for i in range(count)]
    return torch.stack(outputs)


def inputs(shape: tuple[int, ...], dtype: torch.dtype, batch: int = 6) -> Tensor:
    uniform = torch.rand(batch, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return (2 * uniform - 1).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", [*ARCHITECTURES, *FORMS])
def test_equals_the_models_one_by_one(name, dtype):
    make, shape = (ARCHITECTURES | FORMS)[name]
    model, thetas = stack(make, 3, dtype)
    x = inputs(shape, dtype)
    before = x.clone()
    stacked = StackedModel(model)
    state = stacked.prepare(thetas)
    expected = one_by_one(model, thetas, x)
    # sin(3000 x) makes an error of 2e-4 of float32 rounding in SIREN's first layer.
    tolerance = 1e-10 if dtype == torch.float64 else 1e-3 if name == "siren" else 3e-6
    scale = expected.abs().max().item()
    for num_map_examples in (6, 4):  # twice: what is done in place must not reach the weights or the input
        outputs = stacked(state, stacked.prepare_inputs(x, num_map_examples))
        torch.testing.assert_close(outputs, expected, rtol=0, atol=tolerance * max(scale, 1))
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_takes_any_memory_format_and_leaves_the_model_alone(name):
    make, shape = ARCHITECTURES[name]
    model, thetas = stack(make, 2, torch.float64)
    before = copy.deepcopy(model.state_dict())
    x = inputs(shape, torch.float64)
    stacked = StackedModel(model.train())
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    outputs = stacked(stacked.prepare(thetas), stacked.prepare_inputs(x, 4))
    torch.testing.assert_close(outputs, one_by_one(model, thetas, x), rtol=0, atol=1e-10)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["lenet", "conv1d", "siren", "layer-norm-mlp"])
def test_the_place_in_the_stack_and_its_size_change_no_bit(name):
    """With equal endpoints a hull has size zero, and `p_conv` must be 0: the strict < sees the last bit.

    A single model may have another last bit: on some processors one product is another kernel than several. Groups of points
    are therefore always full.
    """
    make, shape = ARCHITECTURES[name]
    model, thetas = stack(make, 8, torch.float32)
    stacked, x = StackedModel(model), inputs(shape, torch.float32, batch=64)
    equal = {key: tensor[:1].expand_as(tensor).clone() for key, tensor in thetas.items()}
    outputs = stacked(stacked.prepare(equal), [x])
    assert all(torch.equal(outputs[0], output) for output in outputs)
    for count in (2, 3, 7):
        first = stacked(stacked.prepare({key: tensor[:count] for key, tensor in equal.items()}), [x])
        assert torch.equal(first, outputs[:count])


@pytest.mark.parametrize(
    ("name", "has_parts"),
    [
        ("lenet", True),
        ("conv1d", True),
        ("resnet20-batch", True),
        ("view with size", True),
        ("the batch size taken first", True),
        ("odd size, 2x2 pooling", False),
        ("batch last: padding, slices, sums and groups", False),  # two means
        ("the input beside its maps", False),
    ],
)
def test_feature_maps_are_made_in_parts_where_rows_need_nothing_else(name, has_parts):
    make, shape = (ARCHITECTURES | FORMS)[name]
    model, thetas = stack(make, 2, torch.float64)
    stacked, x = StackedModel(model), inputs(shape, torch.float64)
    state = stacked.prepare(thetas)
    with Convolutions() as at_once:
        stacked(state, stacked.prepare_inputs(x, 6))
    with Convolutions() as four_and_two:
        stacked(state, stacked.prepare_inputs(x, 4))
    assert four_and_two.count == (2 if has_parts else 1) * at_once.count > 0


@pytest.mark.parametrize("shape", [IMAGE, (1, 16, 16), (1, 40), (2, 40)])
def test_inputs_arranged_once_are_not_copied_again(shape):
    x = inputs(shape, torch.float32)
    arranged = batch_first(batch_last(x))
    again = batch_last(arranged)
    assert torch.equal(arranged, x)
    assert again.data_ptr() == arranged.data_ptr() != x.data_ptr()
    assert again.stride() == batch_last(x).stride()  # of sizes of one, too, by which torch tells the memory format


@pytest.mark.parametrize("name", ["lenet", "conv1d", "batch last: padding, slices, sums and groups"])
def test_the_first_convolution_takes_arranged_inputs_as_they_are(name):
    make, shape = (ARCHITECTURES | FORMS)[name]
    for part in StackedModel(make()).prepare_inputs(inputs(shape, torch.float32), 4):
        assert batch_last(part).data_ptr() == part.data_ptr()


class Convolutions(TorchDispatchMode):
    """Counts them."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten.convolution.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "name",
    [
        "resnet20-batch",
        "residual in place",
        "pooling between BatchNorms",
        "BatchNorm before its convolution",
        "convolution used beside its BatchNorm",
        "BatchNorm of rows",
        "norms and pools of signals",
        "batch last: pools",
    ],
)
def test_moments_are_those_of_momentum_one(name):
    make, shape = (ARCHITECTURES | FORMS)[name]
    model, thetas = stack(make, 2, torch.float64)
    x = inputs(shape, torch.float64, batch=70)
    found = StackedModel(model).moments(thetas, x)
    expected = batch_moments(model, thetas, x)
    assert found.keys() == expected.keys()
    assert found
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-10, atol=1e-10)


def test_batch_moments_are_what_torch_leaves_in_its_buffers():
    model, thetas = stack(
        lambda: nn.Sequential(conv(), nn.BatchNorm2d(8, momentum=1.0), nn.Dropout(0.5)), 3, torch.float64
    )
    x = inputs((3, 6, 6), torch.float64)
    before = copy.deepcopy(model.state_dict())
    found = batch_moments(model, thetas, x)
    for index in range(3):
        one = copy.deepcopy(model)
        one.load_state_dict({name: tensor[index] for name, tensor in thetas.items()})
        one.train()(x)
        torch.testing.assert_close(found["1.running_mean"][index], one[1].running_mean)
        torch.testing.assert_close(found["1.running_var"][index], one[1].running_var)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("settings", [{"kernel_size": 3, "padding": 1}, {"kernel_size": 5}])
def test_moments_in_float32_are_accurate(settings):
    """Torch's own sums over 2,048 images in channels-last memory are 0.2 % off."""
    model, thetas = stack(
        lambda: nn.Sequential(nn.Conv2d(3, 8, bias=False, **settings), nn.BatchNorm2d(8)), 1, torch.float32
    )
    x = inputs((3, 32, 32), torch.float32, batch=1024).contiguous(memory_format=torch.channels_last)
    exact = batch_moments(model.double(), {name: tensor.double() for name, tensor in thetas.items()}, x.double())
    for found in (StackedModel(model).moments(thetas, x), batch_moments(model.float(), thetas, x)):
        for name, expected in exact.items():
            torch.testing.assert_close(found[name].double(), expected, rtol=1e-5, atol=1e-5)


def test_a_model_without_batch_norm_has_no_moments():
    model, thetas = stack(LeNet, 2, torch.float32)
    x = inputs(IMAGE, torch.float32)
    assert StackedModel(model).moments(thetas, x) == batch_moments(model, thetas, x) == {}


def test_moments_take_the_place_of_the_buffers():
    model, thetas = stack(ResNet20, 2, torch.float64)
    x = inputs(IMAGE, torch.float64, batch=16)
    stacked = StackedModel(model)
    moments = stacked.moments(thetas, x)
    assert len(moments) == 2 * 19
    assert all(moments[name].shape == thetas[name].shape for name in moments)
    outputs = stacked(stacked.prepare(thetas | moments), [x])
    torch.testing.assert_close(outputs, one_by_one(model, thetas | moments, x), rtol=0, atol=1e-10)


def test_shared_parameters_are_found_under_their_first_name():
    def tied() -> nn.Module:
        layers = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
        layers[2].weight = layers[0].weight
        return layers

    model, thetas = stack(tied, 3, torch.float64)
    del thetas["2.weight"]
    x = inputs((4,), torch.float64)
    stacked = StackedModel(model)
    torch.testing.assert_close(stacked(stacked.prepare(thetas), [x]), one_by_one(model, thetas, x))


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


UNSUPPORTED: dict[str, Callable[[], nn.Module]] = {
    "an unknown layer": lambda: nn.Sequential(conv(), nn.ConvTranspose2d(8, 3, 3)),
    "an unknown function": lambda: Written(lambda m, x: torch.cat([m.conv(x), m.conv(x)], 1), conv=conv()),
    "a parameter outside a layer": Scaled,
    "a branch on the data": lambda: Written(lambda m, x: m.conv(x) if x.sum() > 0 else x, conv=conv()),
    "BatchNorm of the batch": lambda: nn.Sequential(conv(), nn.BatchNorm2d(8, track_running_stats=False)),
    "BatchNorm of the input": lambda: nn.BatchNorm2d(3),
    "a linear layer on images": lambda: nn.Sequential(conv(), nn.Linear(6, 6)),
    "circular padding": lambda: conv(padding_mode="circular"),
    "dropout that is always on": lambda: Written(lambda m, x: F.dropout(m.conv(x)), conv=conv()),
    "an argument that is computed": lambda: Written(lambda m, x: F.pad(m.conv(x), (0, x.size(0))), conv=conv()),
    "two tensors in one activation": lambda: Written(lambda m, x: F.elu(m.conv(x), x), conv=conv()),
    "the height": lambda: Written(lambda m, x: m.conv(x) * x.size(2), conv=conv()),
    "the batch size as a number": lambda: Written(lambda m, x: m.conv(x) * x.size(0), conv=conv()),
    "the batch flattened too": lambda: Written(lambda m, x: m.conv(x).flatten(), conv=conv()),
    "the mean over channels": lambda: Written(lambda m, x: m.conv(x).mean(1), conv=conv()),
    "some of the channels": lambda: Written(lambda m, x: m.conv(x)[:, :2], conv=conv()),
    "input added to features": lambda: Written(lambda m, x: m.conv(x) + x, conv=conv(3, 3)),
    "two outputs": lambda: Written(lambda m, x: (m.conv(x), x), conv=conv()),
    "a value that is overwritten and used": lambda: Written(
        lambda m, x: F.relu(h := m.conv(x), inplace=True) + h, conv=conv()
    ),
    "a value that a layer called twice overwrites": lambda: Written(
        lambda m, x: m.relu(h := m.conv2(m.relu(m.conv(x)))) + h, conv=conv(), conv2=conv(8), relu=nn.ReLU(inplace=True)
    ),
    "a view that is overwritten": lambda: Written(
        lambda m, x: (h := m.conv(x)).flatten(1).relu_() + h.flatten(1), conv=conv()
    ),
}


@pytest.mark.parametrize(
    ("make", "is_last"),
    [
        (LeNet, True),
        (lambda: nn.Conv2d(2, 4, 5, dilation=2), True),
        (ResNet20, False),
        (lambda: nn.Conv2d(2, 4, 5, stride=2), False),
        (lambda: nn.Conv2d(2, 4, 5, padding=1), False),
        (lambda: nn.Conv2d(2, 4, 5, padding="same"), False),
        (lambda: nn.Conv2d(1, 4, 5), False),
        (lambda: nn.Conv2d(2, 4, 3), False),
        (lambda: nn.Sequential(nn.Conv2d(2, 4, 5), nn.Conv2d(4, 4, 1)), False),
        (lambda: nn.Sequential(nn.Conv2d(2, 4, 5), nn.Conv2d(4, 8, 5, groups=4)), False),
    ],
)
def test_the_batch_is_last_where_every_convolution_gains(make, is_last):
    calls = trace(nn.Sequential(make()).eval(), fold_batch_norm=True)
    convolutions = [call for call in calls if call.kind is nn.Conv2d]
    assert [call.puts_batch_last for call in convolutions] == [is_last] * len(convolutions)
    assert convolutions


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_cannot_be_stacked_is_refused_at_construction(name):
    with pytest.raises(UnsupportedModel, match=r"expected a model that can be stacked, found \w+"):
        StackedModel(UNSUPPORTED[name]())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lenet", BatchSizes(8, 256, 32)),
        ("conv1d", BatchSizes(8, 256, 128)),
        ("resnet20-batch", BatchSizes(1, 256, 32)),
        ("siren", BatchSizes(8, 256, 256)),
    ],
)
def test_batches_fit_the_cache(name, expected):
    make, shape = ARCHITECTURES[name]
    assert StackedModel(make()).batch_sizes(torch.zeros(1, *shape)) == expected


@pytest.mark.parametrize(("make", "count"), [(LeNet, 62_006), (ConvNet1d, 5_210)])
def test_small_nets_have_their_published_size(make, count):
    assert sum(parameter.numel() for parameter in make().parameters()) == count


def test_the_docs_name_the_layers_that_are_stacked():
    table = (REPOSITORY / "docs" / "models.md").read_text().partition("| layers | note |")[2].partition("\n\n")[0]
    known = {kind.__name__ for kind in [*BUILDERS, *NOTHING] if isinstance(kind, type)}
    assert set(re.findall(r"`([A-Z]\w+)`", table)) == known
