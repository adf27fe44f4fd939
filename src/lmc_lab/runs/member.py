"""A run as a member of a program: where it begins, what it keeps, how it ends."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from lmc_lab.runs.checkpoint import State
from lmc_lab.runs.curve_file import CurveFile
from lmc_lab.runs.run import Company, Run


@dataclass(frozen=True, eq=False)
class Member:
    """A run that is to be trained beside others.

    Args:
        run: which.
        begin: the state from which it goes on, as training it alone saves it.
        stop: the step at which it leaves.
        save_at: steps whose whole state is kept.
        on_saved: is called with each of them.
        curve: its loss curve.
        complete: is called at the end with its state, and the company in which it was trained.
    """

    run: Run
    begin: State
    stop: int
    save_at: Collection[int]
    on_saved: Callable[[int], None]
    curve: CurveFile
    complete: Callable[[State, Company], None]

    @property
    def start(self) -> int:
        """The step from which it goes on."""
        return int(self.begin["global_step"])
