"""Rows that are means or shares, each with its 95 % interval."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import isfinite

import torch
from scipy.special import stdtrit
from torch import Tensor

from lmc_lab.analyses.base import Measurement
from lmc_lab.landscape.resampling import delete_d_variance, resampled_means_between, resampled_pair_means
from lmc_lab.landscape.statistics import Probability

_NUM_RESAMPLES = 10_000  # from seed to seed an end of the interval then moves by a hundredth of its width


def mean(quantity: str, values: Tensor, *, subset: str | None = None) -> Measurement:
    """Returns the mean of independent `values` (n,) with Student's t interval; an infinite mean has none."""
    value = float(values.double().mean())
    error = float(values.double().std() / len(values) ** 0.5) if len(values) > 1 and isfinite(value) else None
    return _with_t_interval(quantity, value, error, len(values), subset=subset)


def pair_mean(
    quantity: str, matrix: Tensor, *, counted: Tensor | None = None, subset: str | None = None
) -> Measurement:
    """Returns the mean over pairs of a symmetric `matrix` (P, P), with the jackknife interval over its P members.

    The pairs share members, so their own scatter would understate the error.

    Args:
        quantity: of the row.
        matrix: a value for each pair.
        counted: which pairs count, symmetric bool (P, P); all for None. None is one of a member with itself.
        subset: of the examples.
    """
    num_members = len(matrix)
    pairs = ~torch.eye(num_members, dtype=torch.bool, device=matrix.device)
    pairs = pairs if counted is None else pairs & counted
    values, numbers = matrix.double().where(pairs, 0), pairs.double()
    value = float(values.sum() / numbers.sum())
    error = None
    if num_members > 2 and isfinite(value):
        left_out = (values.sum() - 2 * values.sum(dim=1)) / (numbers.sum() - 2 * numbers.sum(dim=1))
        if left_out.isfinite().all():  # else one member is in all pairs that count
            error = float(((num_members - 1) / num_members * (left_out - left_out.mean()).square().sum()).sqrt())
    return _with_t_interval(quantity, value, error, num_members, subset=subset)


def bootstrap_pair_mean(quantity: str, matrix: Tensor, *, subset: str | None = None) -> Measurement:
    """Returns the mean over all pairs of a symmetric `matrix` (P, P), with the bootstrap's interval over its P members.

    Its ends are percentiles of means of the pairs' own values, so that a quantity that is never negative (a barrier) has no
    interval that is; that of `pair_mean` may. Few members make it too short: simulated, it covered the mean in 53 to 62 % of
    trials for P = 3, 79 to 87 % for P = 5, 87 to 90 % for P = 10 (`benchmarks/bootstrap_coverage.py`). Two members, or an
    infinite mean, have none.
    """
    value = _pair_mean(matrix)
    measurement = Measurement(quantity=quantity, value=value, num_samples=len(matrix), subset=subset)
    if len(matrix) < 3 or not isfinite(value):
        return measurement
    return _between_percentiles(
        measurement, resampled_pair_means(matrix, _NUM_RESAMPLES, generator=torch.Generator().manual_seed(0))
    )


def bootstrap_mean_between(
    quantity: str, matrix: Tensor, of_group: Tensor, *, subset: str | None = None
) -> Measurement:
    """Returns the mean over pairs of members of different groups, with the bootstrap's percentile interval over members.

    The pairs share members, so their own scatter would understate the error; see `bootstrap_pair_mean`. Where a group has
    fewer than three members, or the mean is infinite, there is no interval.

    Args:
        quantity: of the row.
        matrix: symmetric (P, P), a value for each pair.
        of_group: int64 (P,), the group of each member.
        subset: of the examples.
    """
    value = float(matrix.double()[of_group[:, None] != of_group].mean())
    measurement = Measurement(quantity=quantity, value=value, num_samples=len(matrix), subset=subset)
    if of_group.bincount().min() < 3 or not isfinite(value):
        return measurement
    generator = torch.Generator().manual_seed(0)
    return _between_percentiles(
        measurement, resampled_means_between(matrix, of_group, _NUM_RESAMPLES, generator=generator)
    )


def bootstrap_mean(quantity: str, values: Tensor, *, subset: str | None = None) -> Measurement:
    """Returns the mean of independent `values` (n,) with the bootstrap's percentile interval, inside the values' own range.

    So a quantity that is never negative (a barrier) has no interval that is. Fewer than three values, or an infinite mean,
    have none.
    """
    value = float(values.double().mean())
    measurement = Measurement(quantity=quantity, value=value, num_samples=len(values), subset=subset)
    if len(values) < 3 or not isfinite(value):
        return measurement
    drawn = torch.randint(len(values), (_NUM_RESAMPLES, len(values)), generator=torch.Generator().manual_seed(0))
    return _between_percentiles(measurement, values.double().cpu()[drawn].mean(dim=1))


def share_over_subsets(
    quantity: str,
    shares: Tensor,
    *,
    num_members: int,
    num_taken: int,
    of_all: float | None = None,
    subset: str | None = None,
) -> Measurement:
    """Returns the mean of `shares` (m,), each of `num_taken` of `num_members` members, with the interval over members.

    The delete-d jackknife's, with Student's t of `num_members` - 1 degrees of freedom, inside [0, 1]. Where the share `of_all`
    members is known, it stands in place of the mean.
    """
    error = delete_d_variance(shares, num_members=num_members, num_taken=num_taken) ** 0.5
    half = _half_width(error, num_members)
    value = float(shares.double().mean()) if of_all is None else of_all
    return Measurement(
        quantity=quantity,
        value=value,
        low=max(value - half, 0.0),
        high=min(value + half, 1.0),
        num_samples=len(shares),
        subset=subset,
    )


def probability(quantity: str, indicators: Tensor, *, subset: str | None = None) -> Measurement:
    """Returns the share of true `indicators` (n,) with its Wilson interval."""
    return Measurement(quantity=quantity, subset=subset, **asdict(Probability.of(indicators)))


def symmetric(values: Mapping[tuple[int, int], float], size: int) -> Tensor:
    """Returns the symmetric matrix (P, P) with a zero diagonal of the values of pairs, as `pair_mean` takes it."""
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for (first, second), value in values.items():
        matrix[first, second] = matrix[second, first] = value
    return matrix


def _between_percentiles(measurement: Measurement, means: Tensor) -> Measurement:
    """Returns a mean with the interval that 95 % of its resampled `means` (B,) are in."""
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return replace(measurement, low=low, high=high)


def _pair_mean(matrix: Tensor) -> float:
    """Returns the mean of a symmetric `matrix` (P, P) beside its diagonal."""
    total = matrix.double().sum() - matrix.double().trace()
    return float(total / (len(matrix) * (len(matrix) - 1)))


def _half_width(error: float, num_samples: int) -> float:
    """Returns half of Student's t interval."""
    return float(stdtrit(num_samples - 1, 0.975)) * error


def _with_t_interval(
    quantity: str, value: float, error: float | None, num_samples: int, *, subset: str | None = None
) -> Measurement:
    half = None if error is None else _half_width(error, num_samples)
    return Measurement(
        quantity=quantity,
        value=value,
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        num_samples=num_samples,
        subset=subset,
    )
