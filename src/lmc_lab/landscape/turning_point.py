"""When along training does a measure do most of its changing? One rule for measures of every kind."""

from collections.abc import Sequence
from math import nan

import torch
from torch import Tensor

_FEWEST = 3  # values; two have one change, which lies anywhere between them


def turning_point(steps: Sequence[float], values: Sequence[float], share: float) -> float:
    """Returns the step at which a measure has done a share of all its changing.

    Its changing up to a step is the sum of |v_i - v_{i-1}| up to there: of a measure that only rises or only falls the way
    that it has gone, and of one that does both the way there and back. Between two steps t it is taken as linear in
    log(1 + t), since steps are chosen so.

    Args:
        steps: (n,), rising, 0 or larger.
        values: (n,) at these; those that are not finite are left out.
        share: of the changing, above 0 and below 1.

    Returns:
        NaN for fewer than three finite values, or where nothing changes.

    Raises:
        ValueError: the share is outside, or steps do not rise.
    """
    times, measured = _finite(steps, values)
    if not 0 < share < 1:
        raise ValueError(f"expected a share between 0 and 1, found {share}")
    if len(times) < _FEWEST:
        return nan
    changed = torch.cat([torch.zeros(1, dtype=torch.float64), measured.diff().abs().cumsum(0)])
    return _step_at(times, changed, share * float(changed[-1])) if changed[-1] > 0 else nan


def half_life(steps: Sequence[float], values: Sequence[float]) -> float:
    """Returns the step at which a measure is first at half its first value, linear in log(1 + t) between two steps.

    Args:
        steps: (n,), rising, 0 or larger.
        values: (n,) at these; those that are not finite are left out.

    Returns:
        Infinity where it never is; NaN without a value above 0 at first.
    """
    times, measured = _finite(steps, values)
    if not len(times) or measured[0] <= 0:
        return nan
    if not (measured <= measured[0] / 2).any():
        return float("inf")
    return _step_at(times, -measured, -float(measured[0]) / 2)


def _finite(steps: Sequence[float], values: Sequence[float]) -> tuple[Tensor, Tensor]:
    times, measured = (torch.as_tensor(each, dtype=torch.float64) for each in (steps, values))
    if not (times.diff() > 0).all():
        raise ValueError(f"expected steps that rise, found {list(steps)}")
    return times[measured.isfinite()], measured[measured.isfinite()]


def _step_at(times: Tensor, risen: Tensor, level: float) -> float:
    """Returns the step at which `risen` (n,) first reaches a level, which it does."""
    index = int((risen >= level).nonzero()[0])
    if index == 0:
        return float(times[0])
    (before, after), (low, high) = times[index - 1 : index + 1].log1p(), risen[index - 1 : index + 1]
    return float((before + (level - low) / (high - low) * (after - before)).expm1())
