"""Rows of heights on lines: the mean over lines, with an interval over the endpoints that they lead to, and the largest."""

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

import torch
from torch import Tensor

from lmc_lab.analyses.base import Measurement
from lmc_lab.analyses.estimates import bootstrap_mean, bootstrap_mean_between, symmetric
from lmc_lab.landscape.connectivity import LineProfile
from lmc_lab.landscape.lines import LineProbe

Pair = tuple[int, int]
Estimate = Callable[[str, Tensor], Measurement]  # of the mean of heights (lines,)
Height = Callable[[LineProfile], float]
BARRIER: Height = attrgetter("barrier")
RISE: Height = attrgetter("rise")


def heights_to_ends(
    quantity: str, lines: Sequence[LineProbe], spokes: Sequence[Pair], subset: str, *, height: Height = BARRIER
) -> Iterator[Measurement]:
    """Yields the mean height of lines from hubs to endpoints; the interval is over the endpoints.

    Args:
        quantity: what the rows are called, before the level.
        lines: one for each spoke.
        spokes: the number of the hub and that of the endpoint.
        subset: of the examples.
        height: of a line.
    """
    ends = torch.tensor([end for _, end in spokes])

    def estimate(name: str, heights: Tensor) -> Measurement:
        of_each = torch.stack([heights[ends == end].mean() for end in sorted(set(ends.tolist()))])
        return bootstrap_mean(name, of_each, subset=subset)

    yield from _rows(quantity, lines, estimate, subset, height)


def barriers_between(
    quantity: str, lines: Sequence[LineProbe], pairs: Sequence[Pair], of_mode: Tensor, subset: str
) -> Iterator[Measurement]:
    """Yields the mean barrier of lines between endpoints of different modes; the interval is over the endpoints.

    Args:
        quantity: what the rows are called, before the level.
        lines: one for each pair.
        pairs: the numbers of the endpoints, each of a mode with each of another.
        of_mode: int64 (n,), the mode of each endpoint.
        subset: of the examples.
    """
    members = sorted({end for pair in pairs for end in pair})

    def estimate(name: str, barriers: Tensor) -> Measurement:
        matrix = symmetric(dict(zip(pairs, barriers.tolist(), strict=True)), len(of_mode))
        return bootstrap_mean_between(name, matrix[members][:, members], of_mode[members], subset=subset)

    yield from _rows(quantity, lines, estimate, subset, BARRIER)


def _rows(
    quantity: str, lines: Sequence[LineProbe], estimate: Estimate, subset: str, height: Height
) -> Iterator[Measurement]:
    """Yields the mean height and the largest, in loss and in error."""
    for level in lines[0].levels:
        heights = torch.tensor([height(line.levels[level]) for line in lines], dtype=torch.float64)
        yield estimate(f"{quantity}_{level}", heights)
        yield Measurement(quantity=f"max_{quantity}_{level}", value=float(heights.max()), subset=subset)
