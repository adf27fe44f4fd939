"""Loss and error on the lines between endpoints: the measure that a hull generalises (Frankle et al. 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from lmc_lab.landscape.connectivity import LineProfile, line_coefficients
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.hull import (
    Evaluate,
    Evaluation,
    LazyPoints,
    corners_of,
    evaluate_lazily,
    hull_points,
    mixtures_of,
)


@dataclass(frozen=True)
class LineProbe:
    """What lies on the line between two endpoints, in loss and in error."""

    loss: LineProfile
    error: LineProfile | None  # 1 - accuracy; None where the task has no right and wrong

    @classmethod
    def of(cls, fractions: Tensor, evaluation: Evaluation) -> "LineProbe":
        """Returns the probe of the points at `fractions` (R,) of the line, both ends included."""
        loss = LineProfile(fractions, evaluation.loss)
        return cls(loss, None if evaluation.accuracy is None else LineProfile(fractions, 1 - evaluation.accuracy))

    @property
    def levels(self) -> dict[str, LineProfile]:
        """Returns the profiles that exist, by name."""
        return {"loss": self.loss} | ({} if self.error is None else {"error": self.error})


def pairs_of(num_endpoints: int) -> list[tuple[int, int]]:
    """Returns all pairs of P endpoints, Q of them."""
    return list(combinations(range(num_endpoints), 2))


def midpoint_coefficients(num_endpoints: int) -> Tensor:
    """Returns the coefficients of P endpoints in the midpoint of each pair, float64 (Q, P), in the order of `pairs_of`."""
    each = torch.eye(num_endpoints, dtype=torch.float64)
    return torch.stack([(each[first] + each[second]) / 2 for first, second in pairs_of(num_endpoints)])


def probe_lines(evaluate: Evaluate, endpoints: Tensor, *, num_points: int) -> dict[tuple[int, int], LineProbe]:
    """Returns the probe of the line between every two of `endpoints` (P, D); each endpoint is evaluated once.

    Args:
        evaluate: says the loss of points, see `landscape.hull`.
        endpoints: (P, D).
        num_points: on each line, its ends included.

    Raises:
        NotFinite: an endpoint's loss is not finite, or that of a point between is NaN.
    """
    coefficients = line_coefficients(num_points)  # (num_points, 2)
    vertices = torch.eye(len(endpoints), dtype=torch.float64)
    pairs = pairs_of(len(endpoints))

    def inside(pair: tuple[int, int]) -> LazyPoints:
        inner = coefficients[1:-1]
        ends = list(pair)
        return LazyPoints(
            len(inner), lambda cut: (hull_points(endpoints[ends], inner[cut]), inner[cut] @ vertices[ends])
        )

    ends, *lines = evaluate_lazily(evaluate, [corners_of(endpoints), *map(inside, pairs)])
    check_losses(ends.loss, "endpoint")
    for line in lines:
        check_losses(line.loss, "point between", allows_infinity=True)
    alone = ends.separate([1] * len(endpoints))
    return {
        (first, second): LineProbe.of(coefficients[:, 1], Evaluation.join([alone[first], middle, alone[second]]))
        for (first, second), middle in zip(pairs, lines, strict=True)
    }


def probe_spokes(
    evaluate: Evaluate, endpoints: Tensor, hubs: Tensor, spokes: Sequence[tuple[int, int]], *, num_points: int
) -> list[LineProbe]:
    """Returns the probes of lines from points of the hull to endpoints; each of both is evaluated once.

    Args:
        evaluate: says the loss of points, see `landscape.hull`.
        endpoints: (P, D).
        hubs: the coefficients of the endpoints in the points that lines begin at, (m, P).
        spokes: which hub and which endpoint each line joins.
        num_points: on each line, its ends included.

    Raises:
        NotFinite: an endpoint's loss is not finite, or that of another point is NaN.
    """
    coefficients = line_coefficients(num_points)
    vertices = torch.eye(len(endpoints), dtype=torch.float64)
    inside = [coefficients[1:-1] @ torch.stack([hubs[hub], vertices[end]]) for hub, end in spokes]
    mixtures = [mixtures_of(endpoints, each) for each in (hubs, *inside)]
    ends, middles, *lines = evaluate_lazily(evaluate, [corners_of(endpoints), *mixtures])
    check_losses(ends.loss, "endpoint")
    for each in (middles, *lines):
        check_losses(each.loss, "point between", allows_infinity=True)
    ends_alone, hubs_alone = ends.separate([1] * len(endpoints)), middles.separate([1] * len(hubs))
    return [
        LineProbe.of(coefficients[:, 1], Evaluation.join([hubs_alone[hub], line, ends_alone[end]]))
        for (hub, end), line in zip(spokes, lines, strict=True)
    ]
