"""Which split to measure next, to find the step from which the hull is convex with few splits."""

from collections.abc import Iterable, Mapping
from math import inf, sqrt

from lmc_lab.landscape.onset import OnsetBracket, onset

Outcomes = Mapping[int, bool]  # split step k -> whether the criterion holds there

_EARLIEST = 1000  # T / 1000 is the earliest split that is distinguished from k = 0


def first_splits(num_steps: int, *, known: Iterable[int] = (), ratio: float) -> list[int]:
    """Returns 0 and T/2 divided by powers of 4, down to T/1000: a coarse look at all of training.

    Args:
        num_steps: T.
        known: splits that are measured in any case; one of these stands for a coarse one that is less than `ratio` away.
        ratio: to which an onset is wanted.
    """
    known = set(known)
    coarse, step = [0], num_steps / 2
    while step >= max(num_steps / _EARLIEST, 1):
        coarse.append(round(step))
        step /= 4
    return sorted({step for step in coarse if not any(_is_near(step, split, ratio) for split in known)} | known)


def next_split(outcomes: Outcomes, num_steps: int, *, ratio: float) -> int | None:
    """Returns the geometric middle of the bracket of the onset, or None where the onset is known well enough.

    That is where the criterion holds at the first split, or fails at the last; where the ends of the bracket are less than
    `ratio` apart; and where it holds at T/1000, before which nothing is distinguished from k = 0.

    Args:
        outcomes: at the splits that were measured.
        num_steps: T.
        ratio: of the first split that holds to the last that fails, larger than 1.
    """
    ends = _ends(outcomes, num_steps)
    if ends is None or ends[1] / ends[0] < ratio:
        return None
    middle = round(sqrt(ends[0] * ends[1]))
    return middle if ends[0] < middle < ends[1] else None


def width(outcomes: Outcomes, num_steps: int) -> float:
    """Returns the ratio of the ends of the bracket, infinite if it has but one."""
    ends = _ends(outcomes, num_steps)
    return inf if ends is None else ends[1] / ends[0]


def _ends(outcomes: Outcomes, num_steps: int) -> tuple[float, int] | None:
    """Returns the ends of the bracket, the lower one at T/1000 at least; None if it has but one."""
    bracket = bracket_of(outcomes)
    if bracket.failed is None or bracket.held is None:
        return None
    return max(bracket.failed, num_steps / _EARLIEST), bracket.held


def bracket_of(outcomes: Outcomes) -> OnsetBracket:
    """Returns the last split that fails, and the first that holds after it."""
    steps = sorted(outcomes)
    return onset(steps, [float(outcomes[step]) for step in steps], threshold=1)


def num_reversals(outcomes: Outcomes) -> int:
    """Returns how many splits fail after an earlier one has held: 0 if the outcome is monotone.

    Where it is not, a bisection finds one of several changes, and the onset is that of the splits that were looked at.
    """
    steps = sorted(outcomes)
    first = next((step for step in steps if outcomes[step]), inf)
    return sum(step > first and not outcomes[step] for step in steps)


def _is_near(step: int, other: int, ratio: float) -> bool:
    if 0 in (step, other):
        return step == other
    return max(step, other) / min(step, other) < ratio
