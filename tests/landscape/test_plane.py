import pytest
import torch
from torch import Tensor

from lmc_lab.landscape.finite import NotFinite
from lmc_lab.landscape.hull import hull_points
from lmc_lab.landscape.plane import NoPlane, plane_grid, principal_plane


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_a_plane(num: int = 6, size: int = 50) -> tuple[Tensor, Tensor]:
    """Endpoints on a plane far from the origin, and where they are on it."""
    places = normal(num, 2) * torch.tensor([3.0, 1.0])
    axes = torch.linalg.qr(normal(size, 2, seed=1)).Q
    return places @ axes.T + 10 * normal(1, size, seed=2), places


def test_of_endpoints_in_a_plane_it_holds_all_and_keeps_distances_and_points() -> None:
    endpoints, places = in_a_plane()
    plane = principal_plane(endpoints)
    assert float(plane.shares.sum()) == pytest.approx(1) and plane.shares[0] > plane.shares[1]
    torch.testing.assert_close(torch.pdist(plane.endpoints), torch.pdist(places))
    torch.testing.assert_close(plane.endpoints.mean(dim=0), torch.zeros(2).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(hull_points(endpoints, plane.coefficients(plane.endpoints)), endpoints)
    torch.testing.assert_close(plane.places(endpoints, endpoints), plane.endpoints)


def test_losses_on_the_plane_of_a_quadratic_are_those_of_distances_from_its_minimum() -> None:
    endpoints, _ = in_a_plane()
    plane = principal_plane(endpoints)
    grid = plane_grid(plane.endpoints, 5, margin=0.3)
    points = hull_points(endpoints, plane.coefficients(grid))
    minimum = normal(1, 50, seed=3)
    losses = 0.5 * (points - minimum).square().sum(dim=1)
    place = plane.places(endpoints, minimum)
    foot = hull_points(endpoints, plane.coefficients(place))
    beside = 0.5 * (foot - minimum).square().sum()
    torch.testing.assert_close(losses, 0.5 * (grid - place).square().sum(dim=1) + beside)


def test_it_is_that_of_the_singular_value_decomposition() -> None:
    endpoints = normal(7, 300)
    plane = principal_plane(endpoints)
    left, values, right = torch.linalg.svd(endpoints - endpoints.mean(dim=0), full_matrices=False)
    torch.testing.assert_close(plane.endpoints.abs(), (left * values)[:, :2].abs())
    torch.testing.assert_close(plane.shares, (values.square() / values.square().sum())[:2])
    torch.testing.assert_close((plane.directions @ endpoints).abs(), right[:2].abs())
    torch.testing.assert_close(plane.coefficients(normal(5, 2)).sum(dim=1), torch.ones(5).double())
    other = normal(1, 300, seed=5)
    expected = (other - endpoints.mean(dim=0)) @ (plane.directions @ endpoints).T
    torch.testing.assert_close(plane.places(endpoints, other), expected)


def test_the_farthest_endpoint_along_a_direction_is_on_its_positive_side() -> None:
    for seed in range(8):
        places = principal_plane(normal(5, 40, seed=seed)).endpoints
        assert (places.max(dim=0).values == places.abs().max(dim=0).values).all()
    order = torch.tensor([3, 0, 4, 2, 1])
    endpoints = normal(5, 40)
    torch.testing.assert_close(principal_plane(endpoints[order]).endpoints, principal_plane(endpoints).endpoints[order])


def test_a_grid_goes_row_by_row_beyond_the_outermost_places() -> None:
    grid = plane_grid(torch.tensor([[0.0, 0.0], [10.0, 1.0], [5.0, 2.0]]).double(), 3, margin=0.5)
    assert grid.tolist() == [[x, y] for y in (-1, 1, 3) for x in (-5, 5, 15)]


def test_where_there_is_no_plane_it_is_said() -> None:
    line = torch.linspace(0, 1, 4, dtype=torch.float64)[:, None] * normal(1, 40) + normal(1, 40, seed=1)
    for endpoints in (normal(2, 40), line, torch.full((4, 40), 0.1)):
        with pytest.raises(NoPlane, match="lie on one line"):
            principal_plane(endpoints)
    endpoints = normal(4, 40)
    endpoints[2, 3] = torch.nan
    with pytest.raises(NotFinite, match="endpoint 2"):
        principal_plane(endpoints)
