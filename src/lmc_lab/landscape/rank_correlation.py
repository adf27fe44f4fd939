"""Do two quantities rise together? Spearman's rank correlation, with an interval by resampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import torch
from torch import Tensor

_NUM_RESAMPLES = 4000
_AT_ONCE = 2**22  # comparisons of two values, so many bytes
_FEWEST = 4  # pairs; three have six orders, of which chance picks each extreme one time in six


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho of `num_pairs` pairs, with its 95 % interval; all NaN where there is none."""

    value: float
    low: float
    high: float
    num_pairs: int

    def __str__(self) -> str:
        """Returns ``-0.62 [-0.85, -0.21]``."""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def rank_correlation(x: Sequence[float] | Tensor, y: Sequence[float] | Tensor, *, seed: int = 0) -> RankCorrelation:
    """Returns the correlation of ranks, and the 2.5 and 97.5 percentiles of it in bootstrap samples of the pairs.

    Equal values share the mean of their ranks, so that infinite ones are equal and last: a censored value counts as later than
    all others. Samples in which x or y is constant have no correlation and do not count. (Spearman 1904; percentile
    interval: Efron and Tibshirani 1993, section 13.3.)

    Args:
        x: (n,), finite or infinite.
        y: (n,), the same.
        seed: of the resampling.

    Returns:
        NaN for fewer than four pairs, or where x or y is constant.

    Raises:
        ValueError: x and y have other shapes than (n,), or a NaN.
    """
    first, second = (torch.as_tensor(values, dtype=torch.float64) for values in (x, y))
    if first.ndim != 1 or first.shape != second.shape or first.isnan().any() or second.isnan().any():
        raise ValueError(
            f"expected pairs of numbers, found shapes {tuple(first.shape)} and {tuple(second.shape)}, or a NaN"
        )
    num_pairs = len(first)
    value = float(_correlations(first[None], second[None])) if num_pairs >= _FEWEST else nan
    if isnan(value):
        return RankCorrelation(nan, nan, nan, num_pairs)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(num_pairs, (_NUM_RESAMPLES, num_pairs), generator=generator)
    parts = torch.split(drawn, max(1, _AT_ONCE // num_pairs**2))
    found = torch.cat([_correlations(first[part], second[part]) for part in parts])
    low, high = found[~found.isnan()].quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return RankCorrelation(value, low, high, num_pairs)


def _correlations(x: Tensor, y: Tensor) -> Tensor:
    """Returns the correlation of ranks in each row of x and y (m, n), float64 (m,); NaN where one is constant."""
    first, second = (ranks - ranks.mean(dim=1, keepdim=True) for ranks in (_ranks(x), _ranks(y)))
    spread = first.square().sum(dim=1) * second.square().sum(dim=1)
    return (first * second).sum(dim=1) / spread.sqrt()


def _ranks(values: Tensor) -> Tensor:
    """Returns the rank of each value in its row of (m, n), from 1 on; equal ones share the mean of theirs."""
    own, others = values.unsqueeze(2), values.unsqueeze(1)
    return (others < own).sum(dim=2) + ((others == own).sum(dim=2) + 1).double() / 2
