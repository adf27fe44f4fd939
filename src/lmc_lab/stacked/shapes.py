"""What changes the shape: flattening, slices, means over space, padding."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc_lab.stacked.activations import (
    MAPS,
    ActivationLayout,
    Layer,
    LayerInput,
    Weights,
    accept,
    mean_over,
    models_first,
    separate_models,
)
from lmc_lab.stacked.graph import FLATTENS, Call


def flatten(call: Call, source: LayerInput, *sizes: LayerInput) -> Layer:
    """Builds what makes (B, features) of anything, however it is written."""
    num_features = num_flat_features(call)

    def execute(num_models: int, weights: Weights, x: Tensor, *sizes: Any) -> Tensor:
        if source.layout in MAPS:
            x = x.contiguous()  # the rest is then a view, which a matrix product takes as it is
        by_model = (
            x.flatten(1)
            if source.layout is ActivationLayout.SHARED
            else models_first(source.layout, x, num_models).flatten(2)
        )
        if num_features not in (-1, by_model.shape[-1]):
            call.unsupported(f"expected {num_features} features, found {by_model.shape[-1]}")
        return by_model

    return Layer(
        source.layout if source.layout is ActivationLayout.SHARED else ActivationLayout.ROWS, execute, is_fresh=False
    )


def num_flat_features(call: Call) -> int:
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


def _size(call: Call, source: LayerInput) -> Layer:
    """Builds `x.size(0)`, `x.shape` and `x.shape[0]`. No value is computed: that it is the batch size is enough."""
    if call.args[1:] not in ((), (0,), ("shape",)):
        call.unsupported("only the batch size is known")
    return Layer(ActivationLayout.SIZE, lambda num_models, weights, x: x, is_fresh=False)


def _item(call: Call, source: LayerInput) -> Layer:
    if source.layout is ActivationLayout.SIZE:
        return _size(call, source)
    accept(call, source, ActivationLayout.SHARED, *MAPS)
    index = call.args[1]
    if not is_slice_of_space(index):
        call.unsupported(f"expected slices of space, found {index}")
    return Layer(source.layout, lambda num_models, weights, x: x[index], is_fresh=False)


def is_slice_of_space(index: Any) -> bool:
    """Returns whether an index takes all examples and channels, and slices that no model has computed of the rest."""
    if not isinstance(index, tuple) or not all(isinstance(entry, slice) for entry in index):
        return False
    bounds = [bound for entry in index for bound in (entry.start, entry.stop, entry.step)]
    return bool(bounds) and index[:2] == (slice(None),) * 2 and not any(isinstance(bound, Call) for bound in bounds)


def _mean(call: Call, source: LayerInput) -> Layer:
    accept(call, source, *MAPS)
    keeps, over = keeps_space(call, source.layout.num_space), tuple(range(2, 2 + source.layout.num_space))

    def execute(num_models: int, weights: Weights, x: Tensor) -> Tensor:
        mean = mean_over(over, source.layout, x, num_models)  # in every layout
        return mean if keeps else models_first(source.layout, mean, num_models).flatten(2)

    return Layer(source.layout if keeps else ActivationLayout.ROWS, execute, is_fresh=keeps)


def keeps_space(call: Call, num_space: int) -> bool:
    """Returns whether the dimensions of space stay as ones, of a mean over all of them; another mean is unsupported."""
    given = dict(zip(("dim", "keepdim"), call.args[1:], strict=False)) | call.kwargs
    dims: Any = given.pop("dim", None)
    keeps, num_dims = bool(given.pop("keepdim", False)), 2 + num_space
    listed = {dims} if isinstance(dims, int) else set(dims or ())
    if given or {dim % num_dims for dim in listed} != set(range(2, num_dims)):
        call.unsupported(f"expected a mean over all of space, found dimensions {dims}")
    return keeps


def _pad(call: Call, source: LayerInput) -> Layer:
    """Builds constant padding of space and of each model's channels."""
    accept(call, source, *MAPS)
    space, channels, value = constant_padding(call, source.layout.num_space)
    batch = (0, 0) if source.layout.is_batch_last else ()
    all_pads = (*channels, 0, 0, *batch, *space)  # of (B, H, W, n, C) or (1, ..., B, n, C), from the last dimension on

    def execute(num_models: int, weights: Weights, x: Tensor) -> Tensor:
        channels_last = separate_models(x.movedim(1, -1), x.dim() - 1, num_models)
        return F.pad(channels_last, all_pads, value=value).flatten(-2).movedim(-1, 1)

    return Layer(source.layout, execute)


def constant_padding(call: Call, num_space: int) -> tuple[tuple[int, ...], tuple[int, ...], float]:
    """Returns how much is put before and behind each dimension of space, and channels, and what; else it is unsupported."""
    given = dict(zip(("pad", "mode", "value"), call.args[1:], strict=False)) | call.kwargs
    pads: tuple[int, ...] = tuple(given["pad"])
    if given.get("mode", "constant") != "constant" or len(pads) > 2 * num_space + 2:
        call.unsupported("expected constant padding of space and channels")
    return pads[: 2 * num_space], pads[2 * num_space :] or (0, 0), given.get("value") or 0.0


def _unsqueeze(call: Call, source: LayerInput) -> Layer:
    accept(call, source, ActivationLayout.SHARED)
    return Layer(
        ActivationLayout.SHARED,
        lambda num_models, weights, x: x.unsqueeze(*call.args[1:], **call.kwargs),
        is_fresh=False,
    )


BUILDERS: dict[Any, Callable[..., Layer]] = {
    F.pad: _pad,
    torch.mean: _mean,
    "mean": _mean,
    "size": _size,
    getattr: _size,
    operator.getitem: _item,
    "unsqueeze": _unsqueeze,
    torch.unsqueeze: _unsqueeze,
    **dict.fromkeys(FLATTENS, flatten),
}
