"""The plane through the centre of a hull along its first two principal directions: a map of it, and what the map leaves out.

Shapes: P endpoints of D parameters, places (n, 2) on the plane.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmc_lab.landscape.finite import check_endpoints
from lmc_lab.landscape.geometry import column_blocks, differences_gram


class NoPlane(ValueError):  # noqa: N818  it says what there is not
    """The endpoints lie on one line, or all at one point."""


@dataclass(frozen=True)
class Plane:
    """The plane of P endpoints that holds most of their variance (principal components, Pearson 1901)."""

    directions: Tensor  # (2, P) float64: unit vector k is sum_i directions[k, i] W_i; each row sums to zero
    endpoints: Tensor  # (P, 2) float64, where the endpoints are, or the places closest to them; the centre is at (0, 0)
    shares: Tensor  # (2,) float64, the share of the endpoints' variance along each direction

    def coefficients(self, places: Tensor) -> Tensor:
        """Returns the coefficients of the endpoints in the points at `places` (n, 2), float64 (n, P).

        They sum to one, and `hull_points` makes points of them; some are negative, also inside the hull.
        """
        return 1 / len(self.endpoints) + places @ self.directions

    def places(self, endpoints: Tensor, points: Tensor) -> Tensor:
        """Returns the places closest to `points` (n, D), float64 (n, 2), on the plane of these `endpoints` (P, D)."""
        products = torch.zeros(len(points), len(endpoints), dtype=torch.float64, device=endpoints.device)
        for block, others in zip(column_blocks(endpoints), column_blocks(points), strict=True):
            middle = block.mean(dim=0)
            products += (others - middle) @ (block - middle).T
        return products.cpu() @ self.directions.T


def principal_plane(endpoints: Tensor) -> Plane:
    """Returns the plane through the mean of `endpoints` (P, D) along their first two principal directions.

    Through the Gram matrix (P, P) of differences, in float64. Of both signs of a direction the one is taken in which the
    endpoint farthest from the centre along it is on the positive side. Where two variances are equal, the directions are any.

    Raises:
        NotFinite: an endpoint holds NaN or infinity.
        NoPlane: the endpoints lie on one line, as two always do, or are equal.
    """
    gram = differences_gram(endpoints).cpu()
    check_endpoints(gram)
    centred = gram - gram.mean(dim=0) - gram.mean(dim=1, keepdim=True) + gram.mean()
    squares, vectors = torch.linalg.eigh(centred)
    # As in a spectrum: what is smaller than the rounding of sums of D products is none.
    floor = torch.finfo(torch.float64).eps * max(len(endpoints), endpoints.shape[1] ** 0.5) * float(squares[-1])
    if len(endpoints) < 3 or float(squares[-2]) <= floor:
        raise NoPlane(f"these {len(endpoints)} endpoints lie on one line")
    lengths = squares[[-1, -2]].sqrt()  # (2,)
    vectors = vectors[:, [-1, -2]]  # (P, 2)
    farthest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    vectors = vectors * farthest.sign()
    return Plane((vectors / lengths).T, vectors * lengths, squares[[-1, -2]] / squares.clamp(min=0).sum())


def plane_grid(places: Tensor, num_grid: int, *, margin: float) -> Tensor:
    """Returns an even grid around `places` (n, 2), row by row with x running first, float64 (num_grid^2, 2).

    Args:
        places: that it covers.
        num_grid: points a side.
        margin: beyond the outermost places on each side, as a share of what they cover in that direction.
    """
    low, high = places.min(dim=0).values, places.max(dim=0).values
    low, high = low - margin * (high - low), high + margin * (high - low)
    x, y = (torch.linspace(float(low[k]), float(high[k]), num_grid, dtype=torch.float64) for k in range(2))
    return torch.cartesian_prod(y, x).flip(1)
