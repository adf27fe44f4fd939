"""Schedules of the learning rate, as factors of it that are functions of the step."""

import math
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lmc_lab.values import Count, Natural, NotNegative, Share


def cosine(optimizer: Optimizer, *, num_steps: Count, warm_up_steps: Natural = 0, final: Share = 0.0) -> LambdaLR:
    """Returns a rise in equal steps, then half a cosine down (Loshchilov and Hutter 2017, eq. 5, without restarts).

    Args:
        optimizer: whose learning rate it is.
        num_steps: after which the end is reached; it stays there.
        warm_up_steps: of the rise, whose first step has the share 1 / `warm_up_steps`.
        final: the share of the learning rate at the end.
    """
    return _falling(optimizer, lambda done: (1 + math.cos(math.pi * done)) / 2, num_steps, warm_up_steps, final)


def linear(optimizer: Optimizer, *, num_steps: Count, warm_up_steps: Natural = 0, final: Share = 0.0) -> LambdaLR:
    """Returns a rise in equal steps, then a line down; arguments as of `cosine`."""
    return _falling(optimizer, lambda done: 1 - done, num_steps, warm_up_steps, final)


def step(
    optimizer: Optimizer, *, num_steps: Count, at: Sequence[Share] = (0.5, 0.75), factor: NotNegative = 0.1
) -> LambdaLR:
    """Returns a learning rate that is multiplied by `factor` at each of some shares of `num_steps` (He et al. 2016, 4.2)."""
    steps = [round(share * num_steps) for share in at]
    return LambdaLR(optimizer, lambda t: factor ** sum(t >= each for each in steps))


def _falling(
    optimizer: Optimizer, shape: Callable[[float], float], num_steps: int, warm_up_steps: int, final: float
) -> LambdaLR:
    """Returns a schedule whose factor rises to 1, then falls to `final` as `shape` does from 1 to 0 over [0, 1]."""

    def factor(t: int) -> float:
        if t < warm_up_steps:
            return (t + 1) / warm_up_steps
        done = (t - warm_up_steps) / max(1, num_steps - warm_up_steps)
        return final + (1 - final) * shape(min(1.0, done))

    return LambdaLR(optimizer, factor)
