"""What a model takes: one tensor, or a dict of several by the names of its arguments; and what is done to each of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Inputs = Any  # Tensor (B, ...), or Mapping[str, Tensor] of such: so that what takes a Tensor alone, a `prepare` say, fits, too


def by_name(inputs: Inputs) -> dict[str, Tensor]:
    """Returns the tensors by name; "" is that of a tensor alone."""
    return dict(inputs) if isinstance(inputs, Mapping) else {"": inputs}


def each(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Returns what `function` makes of each tensor, under the same names."""
    if isinstance(inputs, Mapping):
        return {name: function(tensor) for name, tensor in inputs.items()}
    return function(inputs)


def joined(join: Callable[[list[Tensor]], Tensor], parts: Sequence[Inputs]) -> Inputs:
    """Returns what `join`, `torch.cat` say, makes of the parts' tensors of each name."""
    if isinstance(parts[0], Mapping):
        return {name: join([part[name] for part in parts]) for name in parts[0]}
    return join(list(parts))


def device_of(inputs: Inputs) -> torch.device:
    """Returns where the tensors are."""
    return next(iter(by_name(inputs).values())).device
