import pytest
import torch
from scipy import stats

from lmc_lab.analyses.estimates import (
    bootstrap_mean,
    bootstrap_pair_mean,
    mean,
    pair_mean,
    probability,
    share_over_subsets,
)


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


def test_a_mean_over_some_pairs_has_the_jackknife_interval_over_all_members():
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    matrix, groups = torch.cdist(points, points), torch.tensor([0, 0, 0, 1, 1, 1])

    def mean_without(left):
        return torch.stack(
            [matrix[i, j] for i in range(6) for j in range(i) if groups[i] != groups[j] and left not in (i, j)]
        ).mean()

    left_out = torch.stack([mean_without(left) for left in range(6)])
    error = (5 / 6 * (left_out - left_out.mean()).square().sum()).sqrt()
    found = pair_mean("distance", matrix, counted=groups[:, None] != groups)
    assert found.value == pytest.approx(float(mean_without(None))) and found.num_samples == 6
    assert found.high - found.value == pytest.approx(float(stats.t.ppf(0.975, 5) * error))


def test_a_probability_counts_and_has_wilsons_interval():
    found = probability("p_conv", torch.tensor([True] * 9 + [False]), subset="train")
    assert found.value == 0.9 and found.low < 0.9 < found.high < 1 and found.num_samples == 10


def test_a_mean_over_pairs_has_the_bootstraps_interval_which_respects_zero():
    heights = torch.tensor([0.0, 0.0, 0.0, 0.1, 3.0])
    matrix = (heights[:, None] - heights).abs()
    jackknife, found = (
        pair_mean("barrier", matrix, subset="train"),
        bootstrap_pair_mean("barrier", matrix, subset="train"),
    )
    assert (found.value, found.num_samples, found.subset) == (jackknife.value, 5, "train")
    assert jackknife.low < 0 == found.low <= found.value <= found.high <= 3
    assert bootstrap_pair_mean("barrier", matrix) == bootstrap_pair_mean("barrier", matrix)
    numpys = stats.bootstrap(
        (range(5),), lambda drawn: pairs_of_drawn(matrix, drawn), n_resamples=4000, method="percentile",
        vectorized=False, rng=0,
    )  # fmt: skip
    assert (found.low, found.high) == pytest.approx(tuple(numpys.confidence_interval), abs=0.1)


def pairs_of_drawn(matrix, drawn):
    values = [matrix[i, j] for i in drawn for j in drawn if i != j]
    return sum(values) / len(values) if values else 0.0


def test_no_barrier_has_an_interval_of_zeros_and_what_cannot_be_resampled_none():
    zeros = bootstrap_pair_mean("barrier", torch.zeros(4, 4))
    assert (zeros.value, zeros.low, zeros.high) == (0, 0, 0)
    for matrix in (torch.ones(2, 2), torch.full((4, 4), torch.inf).fill_diagonal_(0)):
        found = bootstrap_pair_mean("barrier", matrix)
        assert found.value == matrix[0, 1] and found.low is found.high is None


def test_a_share_over_subsets_has_the_jackknifes_interval_inside_0_and_1():
    shares = torch.tensor([0.9, 1.0, 0.7, 0.9, 0.8, 0.9])  # all pairs of four
    found = share_over_subsets("p", shares, num_members=4, num_taken=2)
    half = stats.t.ppf(0.975, 3) * float(shares.double().std(correction=0))
    assert (found.value, found.low, found.high) == pytest.approx((shares.mean().item(), found.value - half, 1))
    assert found.num_samples == 6
    assert share_over_subsets("p", torch.zeros(6), num_members=4, num_taken=2).low == 0


def test_a_mean_has_the_bootstraps_interval_within_its_values():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(40, generator=generator, dtype=torch.float64).square()
    found = bootstrap_mean("barrier", values)
    error = float(values.std(correction=0)) / 40**0.5  # of the mean of a sample that is drawn with replacement
    assert found.value == pytest.approx(float(values.mean())) and found.num_samples == 40
    assert found.low == pytest.approx(found.value - 1.96 * error, rel=0.05)
    assert found.high == pytest.approx(found.value + 1.96 * error, rel=0.05)
    assert bootstrap_mean("barrier", torch.tensor([0.0, 0.0, 3.0])).low == 0
    assert bootstrap_mean("barrier", torch.tensor([1.0, 2.0])).low is None
