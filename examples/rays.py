"""An analysis of one's own: how wide is the region? The loss on rays from the hull's centre through its endpoints.

python -m lmc_lab.analyze split_step=250 'analysis=[rays]' --config-dir conf
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch

from lmc_lab.analyses.base import Choice, Measurement, ModeAnalysis
from lmc_lab.analyses.estimates import mean
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.hull import hull_points
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Natural


@final
@dataclass(frozen=True, kw_only=True)
class Rays(ModeAnalysis):
    """Mean loss of the P points ``centre + percent / 100 * (endpoint - centre)``, for each percent.

    Args:
        percents: 0 is the centre, 100 the endpoints, 200 as far again beyond them.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "rays"
    percents: Sequence[Natural]
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice]:
        """Yields how points were evaluated, and a row for each subset and percent (`index`)."""
        evaluator = PointEvaluator(task.initialise(mode.init_seed), task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        corners = torch.eye(len(mode), dtype=torch.float64)
        centre = torch.full_like(corners, 1 / len(mode))
        for subset, examples in subsets.items():
            evaluate = evaluator.evaluate_on(examples, mode.buffers)
            for percent in self.percents:
                coefficients = centre + percent / 100 * (corners - centre)  # (P, P), each row sums to 1
                losses = evaluate(hull_points(mode.endpoints, coefficients), coefficients).loss
                with numbers_only(f"at {percent} % on the {subset} set"):
                    check_losses(losses, "point between", allows_infinity=True)
                yield replace(mean("loss_on_ray", losses, subset=subset), index=percent)
