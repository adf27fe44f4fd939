"""Do two quantities rise together? Spearman's rank correlation, with an interval by resampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import torch
from torch import Tensor

_NUM_RESAMPLES = 4000
_AT_ONCE = 2**22  # values that are ranked at a time
_FEWEST = 4  # pairs, or lines of them; three have six orders, of which chance picks each extreme one time in six


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho of `num_pairs` pairs, with its interval; all NaN where there is none."""

    value: float
    low: float
    high: float
    num_pairs: int

    def __str__(self) -> str:
        """Returns ``-0.62 [-0.85, -0.21]``."""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def rank_correlation(
    x: Sequence[float] | Tensor,
    y: Sequence[float] | Tensor,
    *,
    level: float = 0.95,
    seed: int = 0,
    num_resamples: int = _NUM_RESAMPLES,
) -> RankCorrelation:
    """Returns the correlation of ranks, and an interval for it from bootstrap samples of the pairs.

    Equal values share the mean of their ranks, so that infinite ones are equal and last: a censored value counts as later than
    all others. Samples in which x or y is constant have no correlation and do not count. (Spearman 1904; percentile
    interval: Efron and Tibshirani 1993, section 13.3.)

    Args:
        x: (n,), or (n, m) where the m pairs of a line belong together, and are drawn together; finite or infinite.
        y: the same.
        level: of the interval.
        seed: of the resampling.
        num_resamples: bootstrap samples; each ranks all pairs again.

    Returns:
        NaN for n below four, or where x or y is constant.

    Raises:
        ValueError: x and y differ in shape, have another than these, or a NaN.
    """
    first, second = _pairs(x, y)
    num_drawn, num_pairs = len(first), first.numel()
    value = _value(first, second)
    if isnan(value):
        return RankCorrelation(nan, nan, nan, num_pairs)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(num_drawn, (num_resamples, num_drawn), generator=generator)
    parts = torch.split(drawn, max(1, _AT_ONCE // num_pairs))
    resampled = torch.cat([_correlations(first[part].flatten(1), second[part].flatten(1)) for part in parts])
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = resampled[~resampled.isnan()].quantile(ends).tolist()
    return RankCorrelation(value, low, high, num_pairs)


def spearman(x: Sequence[float] | Tensor, y: Sequence[float] | Tensor) -> float:
    """Returns the correlation of ranks alone; see `rank_correlation`."""
    return _value(*_pairs(x, y))


def _pairs(x: Sequence[float] | Tensor, y: Sequence[float] | Tensor) -> tuple[Tensor, Tensor]:
    first, second = (torch.as_tensor(values, dtype=torch.float64) for values in (x, y))
    if first.ndim not in (1, 2) or first.shape != second.shape or first.isnan().any() or second.isnan().any():
        raise ValueError(
            f"expected pairs of numbers, found shapes {tuple(first.shape)} and {tuple(second.shape)}, or a NaN"
        )
    return first, second


def _value(x: Tensor, y: Tensor) -> float:
    return float(_correlations(x.reshape(1, -1), y.reshape(1, -1))) if len(x) >= _FEWEST else nan


def _correlations(x: Tensor, y: Tensor) -> Tensor:
    """Returns the correlation of ranks in each row of x and y (m, n), float64 (m,); NaN where one is constant."""
    first, second = (ranks - ranks.mean(dim=1, keepdim=True) for ranks in (_ranks(x), _ranks(y)))
    spread = first.square().sum(dim=1) * second.square().sum(dim=1)
    return (first * second).sum(dim=1) / spread.sqrt()


def _ranks(values: Tensor) -> Tensor:
    """Returns the rank of each value in its row of (m, n), from 1 on; equal ones share the mean of theirs."""
    ordered = values.sort(dim=1).values
    num_below, num_up_to = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (num_below + num_up_to + 1).double() / 2
