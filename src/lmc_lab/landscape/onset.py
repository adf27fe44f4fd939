"""From which split on does a criterion hold?"""

from collections.abc import Sequence
from dataclasses import dataclass

# "We consider instability < 2% to be stable", in error (Frankle et al. 2020, section 3.2: a margin for noise).
STABLE_INSTABILITY = 0.02


@dataclass(frozen=True)
class OnsetBracket:
    """The bracket of the step from which a criterion holds: it lies after `failed` and not after `held`."""

    failed: int | None  # the last split that fails the criterion; None: none does
    held: int | None  # the first split from which it holds at this and every later split; None: not even at the last

    def __str__(self) -> str:
        """Returns the bracket in words."""
        if self.failed is None:
            return f"holds from the first split on, k = {self.held}"
        holds = "holds at no later split" if self.held is None else f"holds from k = {self.held}"
        return f"fails last at k = {self.failed}, {holds}"


def holds(value: float, threshold: float, *, at_least: bool = True) -> bool:
    """Returns whether a criterion holds: value >= threshold (``p_conv`` >= 0.9), or value < threshold (instability < 0.02)."""
    return value >= threshold if at_least else value < threshold


def onset(steps: Sequence[int], values: Sequence[float], *, threshold: float, at_least: bool = True) -> OnsetBracket:
    """Returns from which split step on a criterion holds at every split that was measured.

    Args:
        steps: split steps k, increasing.
        values: the quantity at each; NaN fails.
        threshold: see `holds`.
        at_least: see `holds`.

    Raises:
        ValueError: no steps, not increasing, or not as many as values.
    """
    if not steps or list(steps) != sorted(set(steps)) or len(steps) != len(values):
        raise ValueError(f"expected increasing steps, one a value, found {list(steps)} and {len(values)} values")
    failures = [i for i, value in enumerate(values) if not holds(value, threshold, at_least=at_least)]
    if not failures:
        return OnsetBracket(None, steps[0])
    after = failures[-1] + 1
    return OnsetBracket(steps[failures[-1]], steps[after] if after < len(steps) else None)
