"""Linear mode connectivity of pairs of endpoints (Frankle et al. 2020), the measure that a hull generalises."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Choice, Measurement, ModeAnalysis, pair_mean
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.connectivity import LineProfile, line_weights
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.hull import Evaluate, Evaluation, Lot, evaluate_lots, hull_points
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.objective import EvaluationSettings, Objective
from lmc_lab.tasks.task import Task
from lmc_lab.values import at_least


@final
@dataclass(frozen=True, kw_only=True)
class Pairs(ModeAnalysis):
    """Barrier and instability on the lines between endpoints, in loss and in error.

    Args:
        num_endpoints: all pairs of this many endpoints, those with the smallest seeds.
        num_points: on each line, its ends included.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "pairs"
    num_endpoints: Annotated[int, at_least(2)] = 5
    num_points: Annotated[int, at_least(3)] = 11
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice]:
        """Yields how points were evaluated, the mean over pairs of each quantity, and its largest value."""
        dataset = task.dataset
        objective = Objective(task.initialise(mode.trunk_seed), dataset.train, self.evaluation)
        yield Choice("evaluation", objective.method)
        endpoints = mode.endpoints[: self.num_endpoints]
        buffers = {name: values[: self.num_endpoints] for name, values in mode.buffers.items()}
        for subset, examples in dataset.subsets.items():
            with numbers_only(f"on the {subset} set", mode.seeds):
                profiles = _profiles(objective.evaluator(examples, buffers), endpoints, self.num_points)
            for level in profiles[0, 1]:
                for quantity in ("barrier", "instability"):
                    matrix = _symmetric(
                        {pair: getattr(p[level], quantity) for pair, p in profiles.items()}, len(endpoints)
                    )
                    yield pair_mean(f"{quantity}_{level}", matrix, subset=subset)
                    yield Measurement(quantity=f"max_{quantity}_{level}", value=float(matrix.max()), subset=subset)


def _profiles(evaluate: Evaluate, endpoints: Tensor, num_points: int) -> dict[tuple[int, int], dict[str, LineProfile]]:
    """Returns loss and error along the line of each pair; the ends are evaluated once for all lines."""
    weights = line_weights(num_points)  # (num_points, 2)
    vertices = torch.eye(len(endpoints), dtype=torch.float64)
    pairs = list(combinations(range(len(endpoints)), 2))

    def inside(pair: tuple[int, int]) -> Lot:
        inner = weights[1:-1]
        ends = list(pair)
        return Lot(len(inner), lambda cut: (hull_points(endpoints[ends], inner[cut]), inner[cut] @ vertices[ends]))

    lots = [Lot(len(endpoints), lambda cut: (endpoints[cut], vertices[cut])), *map(inside, pairs)]
    ends, *lines = evaluate_lots(evaluate, lots)
    check_losses(ends.loss, "endpoint")
    for line in lines:
        check_losses(line.loss, "point between", allows_infinity=True)
    profiles = {}
    for (first, second), middle in zip(pairs, lines, strict=True):
        line = Evaluation.join([_at(ends, first), middle, _at(ends, second)])
        profiles[first, second] = {
            level: LineProfile(weights[:, 1], values)
            for level, values in (("loss", line.loss), ("error", None if line.accuracy is None else 1 - line.accuracy))
            if values is not None
        }
    return profiles


def _at(evaluation: Evaluation, index: int) -> Evaluation:
    accuracy = evaluation.accuracy
    return Evaluation(evaluation.loss[[index]], None if accuracy is None else accuracy[[index]])


def _symmetric(values: dict[tuple[int, int], float], size: int) -> Tensor:
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for (first, second), value in values.items():
        matrix[first, second] = matrix[second, first] = value
    return matrix
