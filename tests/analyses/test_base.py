import pytest
import torch
from scipy import stats

from lmc_lab.analyses.base import mean, pair_mean, probability


def test_a_mean_has_students_interval():
    values = torch.tensor([1.0, 2.0, 4.0, 9.0])
    found = mean("loss", values)
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values.numpy()))
    assert (found.value, found.low, found.high, found.num_samples) == pytest.approx((4.0, low, high, 4))


def test_a_single_value_has_no_interval():
    found = mean("loss", torch.tensor([3.0]))
    assert found.value == 3.0 and found.low is None and found.num_samples == 1


def test_a_mean_over_pairs_has_the_jackknife_interval_over_members():
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = torch.cdist(points, points)
    pairs = [matrix[i, j] for i in range(6) for j in range(i)]
    left_out = torch.stack([torch.pdist(points[[j for j in range(6) if j != i]]).mean() for i in range(6)])
    error = (5 / 6 * (left_out - left_out.mean()).square().sum()).sqrt()
    found = pair_mean("distance", matrix)
    assert found.value == pytest.approx(float(sum(pairs) / 15))
    assert found.high - found.value == pytest.approx(float(stats.t.ppf(0.975, 5) * error))
    assert pair_mean("distance", matrix[:2, :2]).low is None


def test_a_probability_counts_and_has_wilsons_interval():
    found = probability("p_conv", torch.tensor([True] * 9 + [False]), subset="train")
    assert found.value == 0.9 and found.low < 0.9 < found.high < 1 and found.num_samples == 10
