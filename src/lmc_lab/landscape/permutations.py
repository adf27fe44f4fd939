"""Networks that differ in the order of their neurons: which axes of which tensors follow one order, and how it is changed.

A permutation p of n units gives new[i] = old[p[i]], as in Ainsworth et al. 2022 (Git Re-Basin, arXiv 2209.04836).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Permutation = Sequence[Tensor]  # of each block, int64 (n,): the unit that comes to the place of each


@dataclass(frozen=True)
class Axis:
    """Where the units of a block are along one dimension of one tensor."""

    tensor: str
    dim: int  # counted from the end, so that tensors (*shape) and (m, *shape) have the same
    indices: Tensor  # (n, r) int64, of each unit; r > 1 where a feature map was flattened


@dataclass(frozen=True)
class Block:
    """n units that may change places with each other, together on all of their axes."""

    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        """Returns n."""
        return len(self.axes[0].indices)


def identity(blocks: Sequence[Block]) -> list[Tensor]:
    """Returns the permutation that leaves all units where they are."""
    return [torch.arange(len(block)) for block in blocks]


def random_permutation(blocks: Sequence[Block], *, generator: torch.Generator) -> list[Tensor]:
    """Returns a permutation drawn uniformly."""
    return [torch.randperm(len(block), generator=generator) for block in blocks]


def composed(first: Permutation, second: Permutation) -> list[Tensor]:
    """Returns the permutation that does as `first`, and then `second`, do."""
    return [one[other] for one, other in zip(first, second, strict=True)]


def permuted(tensors: Mapping[str, Tensor], blocks: Sequence[Block], permutation: Permutation) -> dict[str, Tensor]:
    """Returns the tensors of a network whose units are permuted.

    Args:
        tensors: parameters and buffers by their names, (*shape) or (m, *shape) of m networks. Some may be missing.
        blocks: of the units.
        permutation: of each block.
    """
    changed = dict(tensors)
    for block, order in zip(blocks, permutation, strict=True):
        for axis in block.axes:
            if axis.tensor in changed:
                tensor = changed[axis.tensor]
                index = torch.arange(tensor.shape[axis.dim])
                index[axis.indices] = axis.indices[order]
                changed[axis.tensor] = tensor.index_select(axis.dim, index.to(tensor.device))
    return changed
