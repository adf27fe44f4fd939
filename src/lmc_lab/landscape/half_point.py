"""The size at which something happens half of the time, by a logistic fit in the log of the size.

With x = log size, P(x) = 1 / (1 + exp(-b (x - c))), b >= 0, fitted by maximum likelihood; the half point is exp(c), where
the probability is 1/2 and its logit 0. The interval is that of the profile likelihood: all c with 2 (l_max - max_b l(b, c))
below the 95 % quantile of chi squared with one degree of freedom (Venzon and Moolgavkar 1988, Applied Statistics 37, 87-94).

Where some size has all failures at it and below, all successes above it, and there is at most one size with both, no fit
has a finite slope (Albert and Anderson 1984, Biometrika 71, 1-10): the half point is then known by its bracket.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, sqrt

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

_CHI_SQUARED = 3.841458820694124  # the 95 % quantile, one degree of freedom
_FARTHEST = 50.0  # in units of x, from the half point, at which an end of the interval is looked for
_NUM_HALVINGS = 40  # of that distance, so 1e-10 of x
_NUM_STEPS = 100  # of Newton's method, which needs about ten
_ROUNDING = 1e-12  # of logits and log likelihoods


@dataclass(frozen=True)
class HalfPoint:
    """The half point with its interval, or with its bracket where there is no slope.

    A bracket is open where nothing was measured beyond it: `value` is infinite if nothing happened at any size, and the
    smallest size if it always did.
    """

    value: float
    low: float | None
    high: float | None
    slope: float | None = None  # b


def half_point(sizes: Tensor, happened: Tensor) -> HalfPoint | None:
    """Returns the half point of trials, or None where it does not happen more often at larger sizes.

    Args:
        sizes: of each trial, (n,), above 0.
        happened: in each trial, bool (n,).
    """
    x, y = sizes.double().log(), happened.double()
    levels = sorted(set(sizes.double().tolist()))
    shares = [float(y[sizes.double() == size].mean()) for size in levels]
    num_never = next((i for i, share in enumerate(shares) if share > 0), len(shares))
    num_always = next((i for i, share in enumerate(reversed(shares)) if share < 1), len(shares))
    between = levels[num_never : len(levels) - num_always]
    low = levels[num_never - 1] if num_never else None
    high = levels[-num_always] if num_always else None
    if not between or (len(between) == 1 and len(levels) > 1):
        return HalfPoint(between[0] if between else _middle(low, high), low, high)
    if float(((x - x.mean()) * y).sum()) <= 0:
        return None
    return _fitted(x, y)


def _middle(low: float | None, high: float | None) -> float:
    if high is None:
        return inf
    return high if low is None else sqrt(low * high)


def _fitted(x: Tensor, y: Tensor) -> HalfPoint:
    """Returns the half point of the fit, whose slope is finite and above 0."""
    intercept, slope = _maximum(torch.stack([torch.ones_like(x), x - x.mean()], dim=1), y).tolist()
    centre = float(x.mean()) - intercept / slope
    lowest = _likelihood(slope * (x - centre), y) - _CHI_SQUARED / 2

    def is_inside(c: float) -> bool:
        return _profile(x - c, y) >= lowest

    low, high = (_end(centre, side * _FARTHEST, is_inside) for side in (-1, 1))
    return HalfPoint(exp(centre), None if low is None else exp(low), None if high is None else exp(high), slope)


def _profile(offsets: Tensor, y: Tensor) -> float:
    """Returns the largest log likelihood over slopes b >= 0 at a half point from which x has these offsets."""
    if float((offsets * (y - 0.5)).sum()) <= 0:  # it falls from b = 0 on, where it is concave
        return _likelihood(torch.zeros_like(offsets), y)
    return _likelihood(_maximum(offsets[:, None], y)[0] * offsets, y)


def _likelihood(logits: Tensor, y: Tensor) -> float:
    return -float(binary_cross_entropy_with_logits(logits, y, reduction="sum"))


def _maximum(design: Tensor, y: Tensor) -> Tensor:
    """Returns the coefficients (p,) of the logits `design` (n, p) @ coefficients that are likeliest, by Newton's method."""
    parameters = design.new_zeros(design.shape[1])
    for _ in range(_NUM_STEPS):
        probabilities = (design @ parameters).sigmoid()
        curvature = design.T @ (design * (probabilities * (1 - probabilities))[:, None])
        step = torch.linalg.solve(curvature, design.T @ (y - probabilities))
        while _likelihood(design @ (parameters + step), y) < _likelihood(design @ parameters, y) - _ROUNDING:
            step = step / 2
        parameters = parameters + step
        if float((design @ step).abs().max()) < _ROUNDING:
            break
    return parameters


def _end(centre: float, far: float, is_inside: Callable[[float], bool]) -> float | None:
    """Returns the end of the interval between its centre and `far` from it by bisection; None if it goes on beyond."""
    inside, outside = centre, centre + far
    if is_inside(outside):
        return None
    for _ in range(_NUM_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_inside(middle) else (inside, middle)
    return inside
