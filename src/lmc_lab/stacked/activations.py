"""How activations of n models stand in memory, and what a layer for n models is.

A tensor is one of these:

- the shared input, and what follows from it without parameters, as the model itself has it;
- feature maps of images, (B, n * C, H, W);
- the same with the batch last, (1, n * C, H, W, B);
- feature maps of signals, (1, n * C, L, B);
- rows, (n, B, ..., features), as linear layers give them.

Feature maps are in channels-last memory with the models side by side. With the batch last they need fewer and longer
loops: a convolution's inner loop runs over the columns of all images, and a maximum's over all that a column holds.
MNIST-1D is 1.2 times as fast, LeNet 1.13 times. Which of the two images have is decided in `graph`, for a model as a
whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from lmc_lab.landscape.parameters import States
from lmc_lab.stacked.graph import Call

Weights = tuple[Any, ...]  # tensors, or None for a layer without bias


class ActivationLayout(Enum):
    """Where the models stand in a tensor; SIZE is no tensor but the batch size."""

    SHARED = "the input"
    IMAGES = "images"
    IMAGES_BATCH_LAST = "images with the batch last"
    SIGNALS = "signals"
    ROWS = "rows"
    SIZE = "sizes"

    @property
    def is_batch_last(self) -> bool:
        """Returns whether the batch is the last dimension, and 1 the first."""
        return self in (ActivationLayout.IMAGES_BATCH_LAST, ActivationLayout.SIGNALS)

    @property
    def num_space(self) -> int:
        """Returns the dimensions of a feature map; of no meaning for what has none."""
        return 1 if self is ActivationLayout.SIGNALS else 2


MAPS = (ActivationLayout.IMAGES, ActivationLayout.IMAGES_BATCH_LAST, ActivationLayout.SIGNALS)


@dataclass(frozen=True)
class LayerInput:
    """What a layer knows of its input; `may_overwrite` if nothing else needs the tensor."""

    layout: ActivationLayout
    may_overwrite: bool


@dataclass(frozen=True)
class Layer:
    """One call for n models: `execute(n, weights, *inputs)`, with the weights that `prepare(states)` gave."""

    layout: ActivationLayout
    execute: Callable[..., Tensor]
    prepare: Callable[[States], Weights] = lambda states: ()
    is_fresh: bool = True  # whether the result's memory is its own


def models_first(layout: ActivationLayout, x: Tensor, num_models: int) -> Tensor:
    """Returns (n, B, ...) with the dimensions that the model itself has."""
    match layout:
        case ActivationLayout.SHARED:
            return x.expand(num_models, *x.shape)
        case ActivationLayout.IMAGES:
            return separate_models(x, 1, num_models).transpose(0, 1)
        case ActivationLayout.IMAGES_BATCH_LAST | ActivationLayout.SIGNALS:
            return separate_models(x[0], 0, num_models).movedim(-1, 1)
    return x


def batch_last(x: Tensor) -> Tensor:
    """Returns the shared (B, C, ...) as (1, C, ..., B), in channels-last memory."""
    memory = torch.channels_last if x.dim() == 3 else torch.channels_last_3d
    # The 1 comes from beside the dimension that is outermost in memory: of the stride that it gets there torch tells, where
    # there is one channel, that the memory is channels-last.
    return x.movedim(0, -1).unsqueeze(1).transpose(0, 1).contiguous(memory_format=memory)


def batch_first(x: Tensor) -> Tensor:
    """Returns (1, C, ..., B) as (B, C, ...), without a copy."""
    return x.squeeze(0).movedim(-1, 0)


def separate_models(x: Tensor, dim: int, num_models: int) -> Tensor:
    """Splits n * C at `dim` into n, C."""
    return x.view(*x.shape[:dim], num_models, -1, *x.shape[dim + 1 :])


def mean_over(dims: tuple[int, ...], layout: ActivationLayout, x: Tensor, num_models: int) -> Tensor:
    """Returns the mean over dimensions of space, which stay as ones.

    In channels-last memory torch sums 32 channels at a time and the rest in another order, so that the last bit would depend
    on a model's position.
    """
    if layout is ActivationLayout.IMAGES and num_models > 1:
        x = x.contiguous()
    return x.mean(dims, keepdim=True)


def accept(call: Call, source: LayerInput, *accepted: ActivationLayout) -> None:
    """Raises `UnsupportedModel` unless the input has one of the accepted layouts."""
    if source.layout not in accepted:
        call.unsupported(f"it takes {' or '.join(layout.value for layout in accepted)}, not {source.layout.value}")


def in_2d(numbers: tuple[int, ...] | int, other: int) -> tuple[int, ...]:
    """Returns the settings over height and width, or over (L, B) for signals: `other` over the batch."""
    numbers = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    return numbers if len(numbers) == 2 else (*numbers, other)


def count_models(states: States) -> int:
    """Returns n."""
    return len(next(iter(states.values())))
