"""Algorithm 1 on many hulls of P of n endpoints: how much does `p_conv` depend on which endpoints a hull has?

Shapes: n endpoints of D parameters, m hulls of P of them, J samples of each hull.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.hull import (
    Evaluate,
    HullSample,
    LazyPoints,
    corners_of,
    evaluate_lazily,
    hull_points,
    sample_hull,
)


@dataclass(frozen=True)
class Hull:
    """Some of n endpoints, with random points of their hull."""

    members: Tensor  # (P,) int64, which endpoints
    sample: HullSample  # of these P

    def coefficients(self, num_endpoints: int, cut: slice) -> Tensor:
        """Returns the coefficients of all n endpoints in the points at a slice, float64 (J, n): zero for who is no member."""
        of_members = self.sample.coefficients[cut]
        return torch.zeros(len(of_members), num_endpoints, dtype=of_members.dtype).index_copy(
            1, self.members, of_members
        )

    def points(self, endpoints: Tensor, cut: slice) -> tuple[Tensor, Tensor]:
        """Returns the points at a slice of the hull of `endpoints` (n, D), and their coefficients, as `Evaluate` takes them."""
        corners = endpoints[self.members.to(endpoints.device)]
        return hull_points(corners, self.sample.coefficients[cut]), self.coefficients(len(endpoints), cut)


def sample_hulls(endpoints: Tensor, members: Tensor, num_samples: int, *, generator: torch.Generator) -> list[Hull]:
    """Draws `num_samples` points, uniform on the simplex, of each hull of `members` (m, P) of the `endpoints` (n, D).

    Args:
        endpoints: of all hulls, (n, D).
        members: of each hull, int64 (m, P).
        num_samples: J.
        generator: of a seed for each hull.
    """
    seeds = torch.randint(2**62, (len(members),), generator=generator).tolist()
    return [
        Hull(indices, sample_hull(endpoints[indices.to(endpoints.device)], num_samples, seed=seed))
        for indices, seed in zip(members, seeds, strict=True)
    ]


def probe_hulls(evaluate: Evaluate, endpoints: Tensor, hulls: Sequence[Hull]) -> Tensor:
    """Returns whether each point of each hull has lower loss than its nearest corner, bool (m, J); a tie counts as not lower.

    The endpoints (n, D) are evaluated once for all hulls, through the same `evaluate` as the points of the hulls.

    Raises:
        NotFinite: an endpoint's loss is not finite, or a hull point's is NaN.
    """

    def of_hull(hull: Hull) -> LazyPoints:
        return LazyPoints(len(hull.sample), lambda cut: hull.points(endpoints, cut))

    ends, *points = evaluate_lazily(evaluate, [corners_of(endpoints), *map(of_hull, hulls)])
    check_losses(ends.loss, "endpoint")
    for evaluation in points:
        check_losses(evaluation.loss, "hull point", allows_infinity=True)
    return torch.stack(
        [
            evaluation.loss < ends.loss[hull.members[hull.sample.nearest]]
            for hull, evaluation in zip(hulls, points, strict=True)
        ]
    )
