from math import exp, log

import pytest
import torch
from torch import Tensor

from lmc_lab.landscape.spectrum import effective_rank, singular_values


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Wider than a block of columns, not a multiple of it; and more endpoints than parameters.
@pytest.mark.parametrize("shape", [(6, 40_001), (5, 3), (1, 10)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("centred", [False, True])
def test_they_are_those_of_the_svd(shape: tuple[int, int], dtype: torch.dtype, centred: bool) -> None:
    endpoints = normal(*shape, dtype=dtype)
    stacked = endpoints.double()
    stacked = stacked - stacked.mean(dim=0) if centred else stacked
    spectrum = singular_values(endpoints, centred=centred)
    expected = torch.linalg.svdvals(stacked)
    torch.testing.assert_close(spectrum.values, expected, rtol=1e-12, atol=float(expected[0]) * 1e-7)
    assert (spectrum.num_endpoints, spectrum.num_parameters) == shape
    assert spectrum.is_centred is centred


def test_centred_endpoints_fill_at_most_p_minus_1_dimensions() -> None:
    far = normal(1, 5000, seed=1) * 10
    endpoints = (far + 0.1 * normal(8, 5000)).float()
    centred, raw = singular_values(endpoints, centred=True), singular_values(endpoints, centred=False)
    assert float(centred.values[-1]) <= centred.resolution < float(centred.values[-2])
    assert float(raw.values[-1]) > raw.resolution
    assert float(raw.normalised[1]) < 0.01  # the distance from the origin leads
    assert float(centred.normalised[0]) == 1


def test_the_last_centred_value_of_many_parameters_is_rounding() -> None:
    endpoints = (normal(1, 300_000, seed=1) * 0.05 + 0.002 * normal(4, 300_000)).float()
    centred = singular_values(endpoints, centred=True)
    assert float(centred.values[-1]) <= centred.resolution < 1e-3 * float(centred.values[-2])


def test_values_below_the_resolution_are_rounding() -> None:
    left = torch.linalg.qr(normal(4, 4)).Q
    right = torch.linalg.qr(normal(1000, 4, seed=1)).Q
    true = torch.tensor([1.0, 1e-3, 1e-6, 1e-12], dtype=torch.float64)
    spectrum = singular_values(left * true @ right.T, centred=False)
    assert spectrum.values[:3].tolist() == pytest.approx(true[:3].tolist(), rel=1e-3)
    assert float(spectrum.values[3]) <= spectrum.resolution < 1e-6


def test_equal_endpoints_have_no_size() -> None:
    spectrum = singular_values(torch.full((4, 100), 0.1), centred=True)
    assert spectrum.values.tolist() == pytest.approx([0.0] * 4, abs=1e-14)
    zeros = singular_values(torch.zeros(4, 100), centred=False)
    assert zeros.normalised.tolist() == [0.0] * 4
    assert zeros.effective_rank == 0


def test_effective_rank_is_roy_and_vetterlis() -> None:
    assert effective_rank(torch.ones(7)) == pytest.approx(7)
    assert effective_rank(torch.tensor([5.0, 0, 0])) == pytest.approx(1)
    p = 3 / 4
    assert effective_rank(torch.tensor([3.0, 1.0])) == pytest.approx(exp(-p * log(p) - (1 - p) * log(1 - p)))
    orthogonal = singular_values(torch.eye(5, 50) * 3, centred=False)
    assert orthogonal.effective_rank == pytest.approx(5)
    assert singular_values(torch.eye(5, 50), centred=True).effective_rank == pytest.approx(4, rel=1e-6)


def test_nothing_to_stack_is_refused() -> None:
    for endpoints in (torch.zeros(0, 5), torch.zeros(5)):
        with pytest.raises(ValueError, match="P, D"):
            singular_values(endpoints[:0], centred=False)
