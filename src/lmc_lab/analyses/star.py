"""What shape is a mode? Barriers from a hull's centre to its own endpoints, and to those of other hulls."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch

from lmc_lab.analyses.base import Choice, JointAnalysis, Measurement, ModeAnalysis
from lmc_lab.analyses.corners import Corners
from lmc_lab.analyses.estimates import bootstrap_mean
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.lines import LineProbe, probe_spokes
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.modes import Modes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import at_least


@final
@dataclass(frozen=True, kw_only=True)
class Star(ModeAnalysis):
    """Barriers on the lines from the hull's centre to its endpoints, in loss and in error.

    A set of solutions that all have such lines of low loss from one of them is a star domain (Sonthalia et al. 2024, arXiv
    2403.07968); here the centre is asked, which nobody has trained.

    Args:
        num_points: on each line, its ends included.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "star"
    num_points: Annotated[int, at_least(3)] = 11
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice]:
        """Yields the mean barrier over endpoints, and the largest, of each subset."""
        evaluator = PointEvaluator(task.initialise(mode.init_seed), task.dataset.train, self.evaluation)
        yield from how(evaluator)
        middle = torch.full((1, len(mode)), 1 / len(mode), dtype=torch.float64)
        spokes = [(0, end) for end in range(len(mode))]
        endpoints = mode.endpoints.to(evaluator.device.torch_device)
        for subset, examples in task.dataset.subsets.items():
            evaluate = evaluator.evaluate_on(examples, mode.buffers)
            with numbers_only(f"on the {subset} set", mode.names):
                lines = probe_spokes(evaluate, endpoints, middle, spokes, num_points=self.num_points)
            yield from barriers_of("star_barrier", lines, subset)


@final
@dataclass(frozen=True, kw_only=True)
class InterStar(JointAnalysis):
    """Barriers on the lines from the centre of each hull to the endpoints of the hulls of other trunks; see `Star`.

    Beside them stand those on the lines between endpoints of different hulls, which a centre that is one of a star's would
    be below. Neurons are as they are: nothing is aligned.

    Args:
        num_points: on each line, its ends included.
        num_endpoints: of each mode, the first, between which lines are measured.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "inter_star"
    num_points: Annotated[int, at_least(3)] = 11
    num_endpoints: Annotated[int, at_least(1)] = 3
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, modes: Modes, task: Task) -> Iterator[Measurement | Choice]:
        """Yields the mean barrier over pairs of a centre and an endpoint, over pairs of endpoints, and the largest of each."""
        evaluator = PointEvaluator(task.initialise(modes.members[0].init_seed), task.dataset.train, self.evaluation)
        yield from how(evaluator)
        corners = Corners.of(modes)
        endpoints = corners.thetas.to(evaluator.device.torch_device)
        kinds = {
            "inter_star_barrier": (corners.centres, corners.to_other_modes()),
            "inter_pair_barrier": (corners.vertices, corners.between_first(self.num_endpoints)),
        }
        for subset, examples in task.dataset.subsets.items():
            evaluate = evaluator.evaluate_on(examples, corners.buffers)
            for quantity, (hubs, spokes) in kinds.items():
                with numbers_only(f"on the {subset} set", corners.names):
                    lines = probe_spokes(evaluate, endpoints, hubs, spokes, num_points=self.num_points)
                yield from barriers_of(quantity, lines, subset)


def barriers_of(quantity: str, lines: Sequence[LineProbe], subset: str) -> Iterator[Measurement]:
    """Yields the mean barrier of lines, and the largest, in loss and in error."""
    for level in lines[0].levels:
        barriers = torch.tensor([line.levels[level].barrier for line in lines], dtype=torch.float64)
        yield bootstrap_mean(f"{quantity}_{level}", barriers, subset=subset)
        yield Measurement(quantity=f"max_{quantity}_{level}", value=float(barriers.max()), subset=subset)
