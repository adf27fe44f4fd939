"""Intervals for probabilities that were estimated by counting."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from torch import Tensor


@dataclass(frozen=True)
class Probability:
    """A share of samples, with the 95 % Wilson interval of the probability behind it."""

    value: float
    low: float
    high: float
    num_samples: int

    @classmethod
    def of(cls, indicators: Tensor) -> "Probability":
        """Returns the share of true `indicators`, bool (n,), n >= 1."""
        num_true, num_samples = int(indicators.sum()), len(indicators)
        return cls(num_true / num_samples, *wilson_interval(num_true, num_samples), num_samples)

    def __str__(self) -> str:
        """Returns ``0.62 [0.52, 0.71]``."""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def wilson_interval(num_successes: int, num_samples: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a binomial proportion (Wilson 1927).

    It stays inside [0, 1] and keeps its width at 0 and 1, where ``std(I)``, the paper's error bar (caption of Figure 2),
    is zero. It covers the sampling of one hull, not of hulls.

    Raises:
        ValueError: the counts are impossible.
    """
    if not 0 <= num_successes <= num_samples or num_samples == 0:
        raise ValueError(f"expected 0 <= num_successes <= num_samples > 0, found {num_successes} of {num_samples}")
    z = NormalDist().inv_cdf(0.975)
    p, z2 = num_successes / num_samples, z * z / num_samples
    centre = (p + z2 / 2) / (1 + z2)
    half = sqrt(p * (1 - p) * z2 + z2 * z2 / 4) / (1 + z2)
    # At 0 and n successes one end is exactly 0 or 1; rounding may miss it by an ulp.
    low = 0.0 if num_successes == 0 else centre - half
    high = 1.0 if num_successes == num_samples else centre + half
    return low, high
