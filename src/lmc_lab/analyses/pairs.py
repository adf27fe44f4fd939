"""Linear mode connectivity of pairs of endpoints (Frankle et al. 2020), the measure that a hull generalises."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from lmc_lab.analyses.base import Choice, Measurement, ModeAnalysis
from lmc_lab.analyses.estimates import bootstrap_pair_mean, symmetric
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.lines import probe_lines
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import at_least


@final
@dataclass(frozen=True, kw_only=True)
class Pairs(ModeAnalysis):
    """Barrier and instability on the lines between endpoints, in loss and in error.

    Args:
        num_endpoints: all pairs of this many endpoints, the first of the mode: those with the smallest seeds.
        num_points: on each line, its ends included.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "pairs"
    version: ClassVar[int] = 2
    over_time: ClassVar[bool] = True
    num_endpoints: Annotated[int, at_least(2)] = 5
    num_points: Annotated[int, at_least(3)] = 11
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice]:
        """Yields how points were evaluated, the mean over pairs of each quantity, and its largest value."""
        evaluator = PointEvaluator(task.initialise(mode.init_seed), task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        endpoints = mode.endpoints[: self.num_endpoints].to(evaluator.device.torch_device)
        buffers = {name: values[: self.num_endpoints] for name, values in mode.buffers.items()}
        for subset, examples in subsets.items():
            with numbers_only(f"on the {subset} set", mode.names):
                lines = probe_lines(evaluator.evaluate_on(examples, buffers), endpoints, num_points=self.num_points)
            for level in lines[0, 1].levels:
                for quantity in ("barrier", "instability"):
                    heights = {pair: getattr(line.levels[level], quantity) for pair, line in lines.items()}
                    matrix = symmetric(heights, len(endpoints))
                    yield bootstrap_pair_mean(f"{quantity}_{level}", matrix, subset=subset)
                    yield Measurement(quantity=f"max_{quantity}_{level}", value=float(matrix.max()), subset=subset)
