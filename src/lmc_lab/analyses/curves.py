"""Training loss against the step (Figure 6)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from lmc_lab.analyses.base import LeftOut, Measurement, ModeAnalysis, TrunkAnalysis
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.states import Trunk
from lmc_lab.tasks.task import Task


@final
@dataclass(frozen=True, kw_only=True)
class TrunkCurve(TrunkAnalysis):
    """The trunk's training loss, a mean over each window of steps."""

    name: ClassVar[str] = "trunk_curve"
    steps = ()

    def measure(self, trunk: Trunk, task: Task) -> Iterator[Measurement]:
        """Yields one row a window."""
        yield from _losses(trunk.curve, branch=None)


@final
@dataclass(frozen=True, kw_only=True)
class BranchCurves(ModeAnalysis):
    """The training losses of all branches of a mode."""

    name: ClassVar[str] = "branch_curves"

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | LeftOut]:
        """Yields one row a window and branch."""
        if mode.training is None:
            yield LeftOut("loss curves")
            return
        for branch, curve in zip(mode.branches, mode.training.curves, strict=True):
            yield from _losses(curve, branch=branch)


def _losses(rows: Iterable[Mapping[str, str]], *, branch: int | None) -> Iterator[Measurement]:
    for row in rows:
        yield Measurement(quantity="train_loss", value=float(row["train_loss"]), step=int(row["step"]), branch=branch)
