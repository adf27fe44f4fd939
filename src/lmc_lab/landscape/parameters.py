"""The flat view of a model: theta (D,) and the names and shapes that its parts have in the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

States = Mapping[str, Tensor]  # name -> (n, *shape): the parameters and buffers of n models


def state_at(states: States, index: int) -> dict[str, Tensor]:
    """Returns the tensors (*shape) of one of n models."""
    return {name: values[index] for name, values in states.items()}


@dataclass(frozen=True)
class ParameterLayout:
    """Where each named tensor lies in theta (D,)."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "ParameterLayout":
        """Returns the layout in which `tensors` follow each other in their own order."""
        return cls(tuple(tensors), tuple(tensor.shape for tensor in tensors.values()))

    @property
    def sizes(self) -> list[int]:
        """Returns the number of elements of each named tensor."""
        return [prod(shape) for shape in self.shapes]

    @property
    def dimension(self) -> int:
        """Returns D."""
        return sum(self.sizes)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Returns theta (D,), or (n, D) for tensors with a leading dimension n."""
        first = tensors[self.names[0]]
        leading = first.shape[: first.dim() - len(self.shapes[0])]
        return torch.cat([tensors[name].reshape((*leading, -1)) for name in self.names], dim=-1)

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Returns the named tensors (*shape), or (n, *shape), as views of theta (D,), or (n, D)."""
        parts = torch.split(theta, self.sizes, dim=-1)
        return {
            name: part.reshape(theta.shape[:-1] + shape)
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }

    def varying(self, thetas: Tensor) -> Tensor:
        """Returns which coordinates belong to a named tensor that differs between the points `thetas` (n, D), bool (D,).

        Runs that differ in their data order end with the same bits only in what no gradient has reached: frozen parameters,
        and those that the model does not use.
        """
        parts = torch.split(thetas, self.sizes, dim=-1)
        return torch.cat([torch.full((part.shape[1],), bool((part != part[0]).any())) for part in parts])
