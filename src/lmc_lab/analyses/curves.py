"""Training loss against the step (Figure 6)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch

from lmc_lab.analyses.base import Choice, LeftOut, Measurement, ModeAnalysis, TrunkAnalysis
from lmc_lab.analyses.evaluation import how
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.states import Trunk
from lmc_lab.tasks.evaluation_settings import BatchNormPolicy, EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task

_WHOLE = torch.ones(1, 1, dtype=torch.float64)  # the coefficient of a point that is no mixture


@final
@dataclass(frozen=True, kw_only=True)
class TrunkCurve(TrunkAnalysis):
    """The trunk's training loss: at W_0, and a mean over each window of steps.

    Args:
        evaluation: how the loss at W_0 is computed. Like the losses of training, and unlike the moments that a layer begins
            with, those of BatchNorm are of a batch, whatever `bn_policy` says.
    """

    name: ClassVar[str] = "trunk_curve"
    version: ClassVar[int] = 2
    steps = ()
    evaluation: EvaluationSettings = EvaluationSettings()

    def __post_init__(self) -> None:
        settings = replace(self.evaluation, bn_policy=BatchNormPolicy.REESTIMATE)
        object.__setattr__(self, "evaluation", settings)
        super().__post_init__()

    def measure(self, trunk: Trunk, task: Task) -> Iterator[Measurement | Choice]:
        """Yields the loss at W_0 on the training set, and one row a window."""
        module = task.initialise(trunk.trunk_seed)
        theta = task.layout.parameters.flatten(dict(module.named_parameters())).detach()
        buffers = {name: module.get_buffer(name)[None] for name in task.layout.buffers}
        evaluator = PointEvaluator(module, task.dataset.train, self.evaluation)
        examples = self.evaluation.subsets(task.dataset)["train"]
        yield from how(evaluator, {"train": examples})
        loss = evaluator.evaluate_on(examples, buffers)(theta[None], _WHOLE).loss
        yield Measurement(quantity="initial_loss", value=float(loss), step=0)
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
