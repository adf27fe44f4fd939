"""Do two quantities rise together? Spearman's rank correlation, with an interval by resampling."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

_NUM_RESAMPLES = 4000
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


def rank_correlation(x: ArrayLike, y: ArrayLike, *, seed: int = 0) -> RankCorrelation:
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
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or np.isnan(first).any() or np.isnan(second).any():
        raise ValueError(f"expected pairs of numbers, found shapes {first.shape} and {second.shape}, or NaN")
    num_pairs = len(first)
    if num_pairs < _FEWEST:
        return RankCorrelation(nan, nan, nan, num_pairs)
    value = _correlations(first[None], second[None])[0]
    drawn = np.random.default_rng(seed).integers(num_pairs, size=(_NUM_RESAMPLES, num_pairs))
    found = _correlations(first[drawn], second[drawn])
    low, high = np.nanquantile(found, [0.025, 0.975]) if np.isfinite(value) else (nan, nan)
    return RankCorrelation(float(value), float(low), float(high), num_pairs)


def _correlations(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the correlation of ranks in each row of x and y (m, n), float64 (m,); NaN where one is constant."""
    ranks = [rankdata(values, axis=1) for values in (x, y)]
    first, second = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    with np.errstate(invalid="ignore"):
        product: NDArray[np.float64] = (first * second).sum(axis=1)
        return product / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
