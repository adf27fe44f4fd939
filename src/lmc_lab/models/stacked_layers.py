"""How each kind of layer is evaluated for n models at once.

Activations stand in one of four layouts:

- the shared input, and what follows from it without parameters, as the model itself has it;
- images, in channels-last memory with the models side by side, (B, n * C, H, W);
- signals, (1, n * C, L, B) in channels-last memory: a convolution's inner loop runs over the last dimension, and a batch
  is longer than a signal (MNIST-1D: 1.2 times as fast as (B, n * C, 1, L));
- rows, (n, B, ..., features), as linear layers give them.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc_lab.models.stacked_graph import BATCH_NORMS, CONVOLUTIONS, FLATTENS, RELUS, Call

Thetas = Mapping[str, Tensor]  # parameters and buffers by name, (n, *shape)
Weights = tuple[Any, ...]  # tensors, or None for a layer without bias


class Layout(Enum):
    """Where the models stand in a tensor; SIZE is no tensor but the batch size."""

    SHARED = "the input"
    IMAGES = "images"
    SIGNALS = "signals"
    ROWS = "rows"
    SIZE = "sizes"


@dataclass(frozen=True)
class Source:
    """What a layer knows of its input; `may_overwrite` if nothing else needs the tensor."""

    layout: Layout
    may_overwrite: bool


@dataclass(frozen=True)
class Layer:
    """One call for n models: `execute(n, weights, *inputs)`, with the weights that `prepare(thetas)` gave."""

    layout: Layout
    execute: Callable[..., Tensor]
    prepare: Callable[[Thetas], Weights] = lambda thetas: ()
    is_fresh: bool = True  # whether the result's memory is its own


def build_layer(call: Call, sources: list[Source]) -> Layer:
    """Returns the layer of `call`, whose inputs are described by `sources`.

    Raises:
        UnsupportedModel: there is none.
    """
    builder = _BUILDERS.get(call.kind)
    if builder is None or not sources or (len(sources) > 1 and builder not in (_arithmetic, _flatten)):
        call.unsupported("this operation is not known")
    return builder(call, *sources)


def models_first(layout: Layout, x: Tensor, num_models: int) -> Tensor:
    """Returns (n, B, ...) with the dimensions that the model itself has."""
    match layout:
        case Layout.SHARED:
            return x.expand(num_models, *x.shape)
        case Layout.IMAGES:
            return _split(x, 1, num_models).transpose(0, 1)
        case Layout.SIGNALS:
            return _split(x[0], 0, num_models).permute(0, 3, 1, 2)
    return x


def channel_moments(layout: Layout, parts: list[Tensor], num_models: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns mean, variance and unbiased variance of each channel over all parts of a batch, (n, C) in float64.

    Torch sums channels-last memory in float32, so it is given 8 examples at a time and the rest is done in float64.
    """
    counts, means, variances = [], [], []
    for x in (piece for part in parts for piece in torch.split(part, 8, dim=1 if layout is Layout.ROWS else 0)):
        channels = x.transpose(0, 1).flatten(1) if layout is Layout.ROWS else x
        mean, variance = torch.batch_norm_update_stats(channels, None, None, 0.0)
        counts.append(channels.numel() // len(mean))
        means.append(mean.double())
        variances.append(variance.double())
    total = sum(counts)
    shares = torch.tensor(counts, dtype=torch.float64).unsqueeze(1) / total
    mean = (shares * torch.stack(means)).sum(0)
    variance = (shares * (torch.stack(variances) + (torch.stack(means) - mean) ** 2)).sum(0)
    both = mean.view(num_models, -1), variance.view(num_models, -1)
    return *both, both[1] * (total / (total - 1))


def _split(x: Tensor, dim: int, num_models: int) -> Tensor:
    """Splits n * C at `dim` into n, C."""
    return x.view(*x.shape[:dim], num_models, -1, *x.shape[dim + 1 :])


def _refuse(call: Call, source: Source, *accepted: Layout) -> None:
    if source.layout not in accepted:
        call.unsupported(f"it takes {' or '.join(layout.value for layout in accepted)}, not {source.layout.value}")


def _convolution(call: Call, source: Source) -> Layer:
    module = call.module
    is_1d = isinstance(module, nn.Conv1d)
    layout = Layout.SIGNALS if is_1d else Layout.IMAGES
    is_shared = source.layout is Layout.SHARED
    _refuse(call, source, Layout.SHARED, layout)
    if module.padding_mode != "zeros" or (is_shared and module.groups > 1):
        call.unsupported("padding other than with zeros, or groups on the input")
    settings: dict[str, Any] = {"stride": _in_2d(module.stride, 1), "dilation": _in_2d(module.dilation, 1)}
    settings["padding"] = module.padding if isinstance(module.padding, str) else _in_2d(module.padding, 0)

    def prepare(thetas: Thetas) -> Weights:
        weight = thetas[f"{call.path}.weight"]
        bias = thetas[f"{call.path}.bias"] if module.bias is not None else None
        if call.norm is not None:
            scale, shift = _scale_and_shift(call.norm, thetas)
            weight = weight * scale.view(*scale.shape, *[1] * (weight.dim() - 2))
            bias = shift if bias is None else torch.addcmul(shift, bias, scale)
        kernels = (weight.unsqueeze(-1) if is_1d else weight).flatten(0, 1)
        return kernels.contiguous(memory_format=torch.channels_last), None if bias is None else bias.flatten()

    def execute(num_models: int, weights: Weights, x: Tensor) -> Tensor:
        if is_shared and is_1d:
            x = x.permute(1, 2, 0).unsqueeze(0)
        groups = 1 if is_shared else num_models * module.groups
        weight, bias = weights
        return F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, bias, groups=groups, **settings)

    return Layer(layout, execute, prepare)


def _in_2d(numbers: tuple[int, ...] | int, other: int) -> tuple[int, ...]:
    """Returns the settings over height and width, or over (L, B) for signals: `other` over the batch."""
    numbers = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    return numbers if len(numbers) == 2 else (*numbers, other)


def _scale_and_shift(norm: Call, thetas: Thetas) -> tuple[Tensor, Tensor]:
    """Returns BatchNorm in eval mode as y = scale x + shift, (n, C) each."""
    mean, variance = (thetas[f"{norm.path}.running_{moment}"] for moment in ("mean", "var"))
    scale = torch.rsqrt(variance + norm.module.eps)
    if not norm.module.affine:
        return scale, -mean * scale
    scale = thetas[f"{norm.path}.weight"] * scale
    return scale, torch.addcmul(thetas[f"{norm.path}.bias"], mean, scale, value=-1)


def _batch_norm(call: Call, source: Source) -> Layer:
    _refuse(call, source, Layout.IMAGES, Layout.SIGNALS, Layout.ROWS)
    is_rows = source.layout is Layout.ROWS

    def prepare(thetas: Thetas) -> Weights:
        both = _scale_and_shift(call, thetas)
        return tuple(each.unsqueeze(1) if is_rows else each.view(1, -1, 1, 1) for each in both)

    def execute(num_models: int, weights: Weights, x: Tensor) -> Tensor:
        if is_rows and x.dim() != 3:
            call.unsupported(f"expected (B, features), found {x.dim() - 1} dimensions")
        scale, shift = weights
        return torch.addcmul(shift, x, scale, out=x if source.may_overwrite else None)

    return Layer(source.layout, execute, prepare)


def _group_norm(call: Call, source: Source) -> Layer:
    module = call.module
    _refuse(call, source, Layout.IMAGES, Layout.SIGNALS)

    def prepare(thetas: Thetas) -> Weights:
        return tuple(thetas[f"{call.path}.{name}"].flatten() for name in _affine(module)) or (None, None)

    def execute(num_models: int, weights: Weights, x: Tensor) -> Tensor:
        weight, bias = weights
        by_example = x if source.layout is Layout.IMAGES else x.permute(3, 1, 2, 0)  # signals: (B, n * C, L, 1)
        result = F.group_norm(by_example, num_models * module.num_groups, weight, bias, module.eps)
        return result if source.layout is Layout.IMAGES else result.permute(3, 1, 2, 0)

    return Layer(source.layout, execute, prepare)


def _affine(module: nn.Module) -> list[str]:
    return [name for name in ("weight", "bias") if getattr(module, name, None) is not None]


def _layer_norm(call: Call, source: Source) -> Layer:
    module, names = call.module, _affine(call.module)
    _refuse(call, source, Layout.ROWS)

    def prepare(thetas: Thetas) -> Weights:
        return tuple(thetas[f"{call.path}.{name}"] for name in names)

    def execute(num_models: int, weights: Weights, x: Tensor) -> Tensor:
        normalised = F.layer_norm(x, module.normalized_shape, eps=module.eps)
        ones = [1] * (x.dim() - 1 - len(module.normalized_shape))
        affine = [tensor.view(num_models, *ones, *tensor.shape[1:]) for tensor in weights]
        if affine:
            normalised.mul_(affine[0])
        return normalised.add_(affine[1]) if len(affine) == 2 else normalised

    return Layer(Layout.ROWS, execute, prepare)


def _linear(call: Call, source: Source) -> Layer:
    """Builds W x' + b, whose result (n, out, B) is then seen as (n, B, out).

    With the batch as the inner dimension a layer of 10 outputs takes a quarter of the time that x W' + b takes.
    """
    _refuse(call, source, Layout.SHARED, Layout.ROWS)
    names = _affine(call.module)

    def prepare(thetas: Thetas) -> Weights:
        weight, *bias = (thetas[f"{call.path}.{name}"] for name in names)
        return weight.contiguous(), bias[0].unsqueeze(2) if bias else None

    def execute(num_models: int, weights: Weights, x: Tensor) -> Tensor:
        columns = _shared_columns(x, num_models) if source.layout is Layout.SHARED else x.flatten(1, -2).mT
        weight, bias = weights
        result = torch.bmm(weight, columns) if bias is None else torch.baddbmm(bias, weight, columns)
        sizes = x.shape[:-1] if source.layout is Layout.SHARED else x.shape[1:-1]
        return result.mT.view(num_models, *sizes, -1)

    return Layer(Layout.ROWS, execute, prepare)


def _shared_columns(x: Tensor, num_models: int) -> Tensor:
    """Returns the shared (B, ..., in) as (n, in, B): flattened and viewed, for strides that a product takes as they are."""
    num_features = x.shape[-1]
    return x.flatten(0, -2).mT.flatten().view(num_features, -1).expand(num_models, num_features, -1)


def _pool(call: Call, source: Source) -> Layer:
    _refuse(call, source, Layout.SHARED, Layout.IMAGES, Layout.SIGNALS)
    pool = call.module or _POOLS[call.kind](*call.args[1:], **call.kwargs)
    if getattr(pool, "return_indices", False):
        call.unsupported("it returns indices")
    if source.layout is Layout.SIGNALS:
        pool = _pool_over_length(call, pool)
    elif isinstance(pool, nn.MaxPool2d) and _halves(pool):
        pool = partial(_max_of_four, may_overwrite=source.may_overwrite)
    return Layer(source.layout, lambda num_models, weights, x: pool(x))


def _halves(pool: nn.MaxPool2d) -> bool:
    settings = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    plain = all(value in (wanted, (wanted, wanted)) for value, wanted in zip(settings, (2, 2, 0, 1), strict=True))
    return plain and not pool.ceil_mode


def _max_of_four(x: Tensor, *, may_overwrite: bool) -> Tensor:
    """Returns the 2x2 maximum, by rows and then by columns: 1.2 (96 channels) to 9 times (6) as fast as max_pool2d.

    The rows' maxima overwrite x where they may, whose memory is in the cache: another 1.2 times as fast.
    """
    height, width = (size // 2 * 2 for size in x.shape[2:])
    upper, lower = x[:, :, 0:height:2], x[:, :, 1:height:2]
    rows = torch.maximum(upper, lower, out=upper if may_overwrite else None)
    return torch.maximum(rows[..., 0:width:2], rows[..., 1:width:2])


def _pool_over_length(call: Call, pool: Any) -> Callable[[Tensor], Tensor]:
    """Returns the pooling of (1, n * C, L, B) over L."""
    if isinstance(pool, nn.AdaptiveAvgPool1d) and pool.output_size in (1, (1,)):
        return lambda x: x.mean(2, keepdim=True)
    if not isinstance(pool, nn.MaxPool1d | nn.AvgPool1d):
        call.unsupported("this pooling of signals")
    others = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
    sizes: dict[str, Any] = {
        name: _in_2d(getattr(pool, name), other) for name, other in others.items() if hasattr(pool, name)
    }
    if isinstance(pool, nn.MaxPool1d):
        return nn.MaxPool2d(**sizes, ceil_mode=pool.ceil_mode)
    return nn.AvgPool2d(**sizes, ceil_mode=pool.ceil_mode, count_include_pad=pool.count_include_pad)


def _elementwise(call: Call, source: Source) -> Layer:
    function = call.module or (getattr(torch, call.kind) if call.op == "call_method" else call.kind)
    rest, named = call.args[1:], call.kwargs
    if source.may_overwrite and call.kind in _OVERWRITING:
        function = _OVERWRITING[call.kind]
    return Layer(source.layout, lambda num_models, weights, x: function(x, *rest, **named))


def _arithmetic(call: Call, *sources: Source) -> Layer:
    function, overwriting = _ARITHMETIC[call.kind]
    layouts = {source.layout for source in sources}
    if call.kwargs or len(layouts) > 1 or Layout.SIZE in layouts:
        call.unsupported(f"between {' and '.join(sorted(layout.value for layout in layouts))}")
    if isinstance(call.args[0], Call) and sources[0].may_overwrite and call.args[0] is not call.args[1]:
        function = overwriting

    def execute(num_models: int, weights: Weights, *inputs: Tensor) -> Tensor:
        if len({x.shape for x in inputs}) > 1:
            call.unsupported(f"between shapes that differ: {', '.join(str(tuple(x.shape)) for x in inputs)}")
        remaining = iter(inputs)
        return function(*(next(remaining) if isinstance(argument, Call) else argument for argument in call.args))

    return Layer(layouts.pop(), execute)


def _flatten(call: Call, source: Source, *sizes: Source) -> Layer:
    """Builds what makes (B, features) of anything, however it is written."""
    num_features = _num_flat_features(call)

    def execute(num_models: int, weights: Weights, x: Tensor, *sizes: Any) -> Tensor:
        by_model = (
            x.flatten(1) if source.layout is Layout.SHARED else models_first(source.layout, x, num_models).flatten(2)
        )
        if num_features not in (-1, by_model.shape[-1]):
            call.unsupported(f"expected {num_features} features, found {by_model.shape[-1]}")
        return by_model

    return Layer(source.layout if source.layout is Layout.SHARED else Layout.ROWS, execute, is_fresh=False)


def _num_flat_features(call: Call) -> int:
    """Returns the features that the flattened shape names, -1 for any."""
    if call.kind is nn.Flatten:
        shape: Any = (call.module.start_dim, call.module.end_dim)
    elif call.kind in ("flatten", torch.flatten):
        given = dict(zip(("start_dim", "end_dim"), call.args[1:], strict=False)) | call.kwargs
        shape = (given.get("start_dim", 0), given.get("end_dim", -1))
    else:
        shape = call.args[1] if isinstance(call.args[1], tuple | list) else call.args[1:]
        if len(shape) == 2 and (shape[0] == -1 or isinstance(shape[0], Call)) and isinstance(shape[1], int):
            return shape[1]
    if tuple(shape) != (1, -1):
        call.unsupported(f"expected (batch, features), found {shape}")
    return -1


def _size(call: Call, source: Source) -> Layer:
    """Builds `x.size(0)`, `x.shape` and `x.shape[0]`, of which `_flatten` needs nothing but that they were taken."""
    if call.args[1:] not in ((), (0,), ("shape",)):
        call.unsupported("only the batch size is known")
    return Layer(Layout.SIZE, lambda num_models, weights, x: x, is_fresh=False)


def _item(call: Call, source: Source) -> Layer:
    if source.layout is Layout.SIZE:
        return _size(call, source)
    _refuse(call, source, Layout.SHARED, Layout.IMAGES, Layout.SIGNALS)
    index = call.args[1]
    bounds = [bound for entry in index for bound in (entry.start, entry.stop, entry.step)] if _are_slices(index) else []
    if not bounds or index[:2] != (slice(None),) * 2 or any(isinstance(bound, Call) for bound in bounds):
        call.unsupported(f"expected slices of space, found {index}")
    return Layer(source.layout, lambda num_models, weights, x: x[index], is_fresh=False)


def _are_slices(index: Any) -> bool:
    return isinstance(index, tuple) and all(isinstance(entry, slice) for entry in index)


def _mean(call: Call, source: Source) -> Layer:
    _refuse(call, source, Layout.IMAGES, Layout.SIGNALS)
    given = dict(zip(("dim", "keepdim"), call.args[1:], strict=False)) | call.kwargs
    dims: Any = given.pop("dim", None)
    keeps, num_dims = given.pop("keepdim", False), 4 if source.layout is Layout.IMAGES else 3
    listed = {dims} if isinstance(dims, int) else set(dims or ())
    if given or {dim % num_dims for dim in listed} != set(range(2, num_dims)):
        call.unsupported(f"expected a mean over all of space, found dimensions {dims}")
    over = (2, 3)[: num_dims - 2]  # the length of signals (1, n * C, L, B) is dimension 2 too

    def execute(num_models: int, weights: Weights, x: Tensor) -> Tensor:
        mean = x.mean(over, keepdim=True)
        return mean if keeps else models_first(source.layout, mean, num_models).flatten(2)

    return Layer(source.layout if keeps else Layout.ROWS, execute, is_fresh=keeps)


def _pad(call: Call, source: Source) -> Layer:
    """Builds constant padding of space and of each model's channels."""
    _refuse(call, source, Layout.IMAGES, Layout.SIGNALS)
    given = dict(zip(("pad", "mode", "value"), call.args[1:], strict=False)) | call.kwargs
    pads: tuple[int, ...] = tuple(given["pad"])
    num_space = 4 if source.layout is Layout.IMAGES else 2
    if given.get("mode", "constant") != "constant" or len(pads) > num_space + 2:
        call.unsupported("expected constant padding of space and channels")
    space, channels = pads[:num_space], pads[num_space:] or (0, 0)
    batch = () if source.layout is Layout.IMAGES else (0, 0)
    all_pads = (*channels, 0, 0, *batch, *space)  # of (B, H, W, n, C) or (1, L, B, n, C), from the last dimension on
    value = given.get("value") or 0.0

    def execute(num_models: int, weights: Weights, x: Tensor) -> Tensor:
        channels_last = _split(x.permute(0, 2, 3, 1), 3, num_models)
        return F.pad(channels_last, all_pads, value=value).flatten(3).permute(0, 3, 1, 2)

    return Layer(source.layout, execute)


def _unsqueeze(call: Call, source: Source) -> Layer:
    _refuse(call, source, Layout.SHARED)
    return Layer(
        Layout.SHARED, lambda num_models, weights, x: x.unsqueeze(*call.args[1:], **call.kwargs), is_fresh=False
    )


_POOLS: dict[Any, Callable[..., nn.Module]] = {
    F.max_pool1d: nn.MaxPool1d,
    F.max_pool2d: nn.MaxPool2d,
    F.avg_pool1d: nn.AvgPool1d,
    F.avg_pool2d: nn.AvgPool2d,
    F.adaptive_avg_pool1d: nn.AdaptiveAvgPool1d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
}
_OVERWRITING: dict[Any, Callable[[Tensor], Tensor]] = dict(
    dict.fromkeys(RELUS, torch.relu_)
    | dict.fromkeys([nn.Sigmoid, torch.sigmoid, F.sigmoid, "sigmoid"], torch.sigmoid_)
    | dict.fromkeys([nn.Tanh, torch.tanh, F.tanh, "tanh"], torch.tanh_)
    | dict.fromkeys([torch.sin, "sin"], torch.sin_)
    | dict.fromkeys([torch.cos, "cos"], torch.cos_)
)
_ELEMENTWISE = (
    nn.GELU,
    nn.SiLU,
    nn.ELU,
    nn.LeakyReLU,
    nn.Softplus,
    nn.ReLU6,
    nn.Mish,
    F.gelu,
    F.silu,
    F.elu,
    F.softplus,
)
_ARITHMETIC: dict[Any, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = (
    dict.fromkeys(["add", "add_", operator.add, operator.iadd, torch.add], (torch.add, Tensor.add_))
    | dict.fromkeys(["sub", "sub_", operator.sub, operator.isub, torch.sub], (torch.sub, Tensor.sub_))
    | dict.fromkeys(["mul", "mul_", operator.mul, operator.imul, torch.mul], (torch.mul, Tensor.mul_))
    | dict.fromkeys(["div", "div_", operator.truediv, operator.itruediv, torch.div], (torch.div, Tensor.div_))
)
_BUILDERS: dict[Any, Callable[..., Layer]] = {
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.Linear: _linear,
    F.pad: _pad,
    torch.mean: _mean,
    "mean": _mean,
    "size": _size,
    getattr: _size,
    operator.getitem: _item,
    "unsqueeze": _unsqueeze,
    torch.unsqueeze: _unsqueeze,
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(BATCH_NORMS, _batch_norm),
    **dict.fromkeys([*_POOLS, *_POOLS.values()], _pool),
    **dict.fromkeys([*_OVERWRITING, *_ELEMENTWISE], _elementwise),
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    **dict.fromkeys(FLATTENS, _flatten),
}
