"""Distances between points of parameter space (Figure 2, bottom row), in float64."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Columns that are held in float64 at a time: 300 points take 39 MB.
_COLUMNS = 16_384


def column_blocks(points: Tensor) -> Iterator[Tensor]:
    """Yields the columns of `points` (n, D) in float64, a block at a time, so that memory does not double."""
    for block in torch.split(points, _COLUMNS, dim=-1):
        yield block.double()


def differences_gram(points: Tensor) -> Tensor:
    """Returns the inner products <W_i - W_1, W_j - W_1> of the rows of `points` (n, D), float64 (n, n).

    Differences to the first point, since in inner products of the points themselves the hull's size would be rounding.
    """
    gram = torch.zeros(len(points), len(points), dtype=torch.float64, device=points.device)
    for block in column_blocks(points):
        differences = block - block[0]
        gram += differences @ differences.T
    return gram


def pairwise_distances(points: Tensor) -> Tensor:
    """Returns the Euclidean distances between the rows of `points` (n, D), float64 (n, n)."""
    gram = differences_gram(points)
    squares = gram.diagonal()
    return (squares[:, None] + squares[None, :] - 2 * gram).clamp(min=0).sqrt()


def distances_to(points: Tensor, reference: Tensor) -> Tensor:
    """Returns the Euclidean distances of the rows of `points` (n, D) from `reference` (D,), float64 (n,)."""
    squares = torch.zeros(len(points), dtype=torch.float64, device=points.device)
    for block, part in zip(column_blocks(points), column_blocks(reference), strict=True):
        squares += (block - part).square().sum(dim=1)
    return squares.sqrt()


def centre(points: Tensor) -> Tensor:
    """Returns the mean of the rows of `points` (n, D), summed in float64 and rounded once, (D,)."""
    return torch.cat([block.mean(dim=0) for block in column_blocks(points)]).to(points.dtype)
