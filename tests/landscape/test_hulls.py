import pytest
import torch
from torch import Tensor

from lmc_lab.landscape.finite import NotFinite
from lmc_lab.landscape.hull import Evaluation, hull_points, probe_hull, sample_hull
from lmc_lab.landscape.hulls import probe_hulls, sample_hulls
from lmc_lab.landscape.resampling import draw_subsets


def endpoints_of(num: int = 6, size: int = 4) -> Tensor:
    return torch.randn(num, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def wavy(thetas: Tensor, coefficients: Tensor) -> Evaluation:
    return Evaluation(thetas.square().sum(dim=1) + 2 * torch.sin(3 * thetas).sum(dim=1), None)


def drawn(endpoints: Tensor, num_samples: int = 30) -> list:
    generator = torch.Generator().manual_seed(1)
    return sample_hulls(endpoints, draw_subsets(6, 3, 7, generator=generator), num_samples, generator=generator)


def test_each_hull_is_algorithm_1_on_its_own_members() -> None:
    endpoints = endpoints_of()
    hulls = drawn(endpoints)
    found = probe_hulls(wavy, endpoints, hulls)
    assert found.shape == (7, 30)
    for hull, is_better in zip(hulls, found, strict=True):
        alone = probe_hull(wavy, endpoints[hull.members], hull.sample)
        assert torch.equal(is_better, alone.is_conv_better)
    assert 0 < found.double().mean() < 1 and len({tuple(row) for row in found.tolist()}) > 1


def test_coefficients_are_of_all_endpoints_and_endpoints_are_evaluated_once() -> None:
    endpoints, seen = endpoints_of(), []

    def evaluate(thetas: Tensor, coefficients: Tensor) -> Evaluation:
        torch.testing.assert_close(hull_points(endpoints, coefficients), thetas)
        seen.append(len(thetas))
        return wavy(thetas, coefficients)

    probe_hulls(evaluate, endpoints, drawn(endpoints))
    assert sum(seen) == 6 + 7 * 30


def test_no_two_hulls_share_coefficients() -> None:
    first, *others = (hull.sample.coefficients for hull in drawn(endpoints_of()))
    assert not any(torch.equal(first, other) for other in others)
    assert not torch.equal(first, sample_hull(endpoints_of()[:3], 30, seed=1).coefficients)


def test_a_tie_counts_as_not_lower_and_nan_as_nothing() -> None:
    endpoints = endpoints_of()
    flat = probe_hulls(
        lambda thetas, _: Evaluation(torch.zeros(len(thetas)).double(), None), endpoints, drawn(endpoints)
    )
    assert not flat.any()
    with pytest.raises(NotFinite, match="endpoint 0"):
        probe_hulls(
            lambda thetas, _: Evaluation(torch.full((len(thetas),), torch.nan), None), endpoints, drawn(endpoints)
        )
