"""What shape is a mode? Barriers from a hull's centre to its own endpoints, and to those of other hulls."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from lmc_lab.analyses.barriers import RISE, barriers_between, heights_to_ends
from lmc_lab.analyses.base import Answer, Choice, JointAnalysis, LeftOut, Measurement, ModeAnalysis
from lmc_lab.analyses.corners import NO_MODULE, Corners, module_of_all
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.hull import centre_of
from lmc_lab.landscape.lines import probe_spokes
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.modes import Modes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import at_least


@final
@dataclass(frozen=True, kw_only=True)
class Star(ModeAnalysis):
    """Heights of the lines from the hull's centre to its endpoints, in loss and in error.

    A set of solutions that all have lines of low loss to one of them is a star domain (Sonthalia et al. 2024, arXiv
    2403.07968); here the centre is asked, which nobody has trained. It may be high itself: a line that falls evenly from
    there has no barrier, which is a height above the chord, and a rise, above the endpoint, as high as the centre is.

    Args:
        num_points: on each line, its ends included.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "star"
    version: ClassVar[int] = 2
    num_points: Annotated[int, at_least(3)] = 11
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice]:
        """Yields the mean barrier and the mean rise over endpoints, and the largest, of each subset."""
        evaluator = PointEvaluator(task.initialise(mode.init_seed), task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        spokes = [(0, end) for end in range(len(mode))]
        endpoints = mode.endpoints.to(evaluator.device.torch_device)
        for subset, examples in subsets.items():
            evaluate = evaluator.evaluate_on(examples, mode.buffers)
            with numbers_only(f"on the {subset} set", mode.names):
                lines = probe_spokes(evaluate, endpoints, centre_of(len(mode)), spokes, num_points=self.num_points)
            yield from heights_to_ends("star_barrier", lines, spokes, subset)
            yield from heights_to_ends("star_rise", lines, spokes, subset, height=RISE)


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
    version: ClassVar[int] = 2
    num_points: Annotated[int, at_least(3)] = 11
    num_endpoints: Annotated[int, at_least(1)] = 3
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, modes: Modes, task: Task) -> Iterator[Answer]:
        """Yields the mean barrier over pairs of a centre and an endpoint, over pairs of endpoints, and the largest of each."""
        module = module_of_all(modes, task)
        if module is None:
            yield LeftOut("barriers to other hulls", NO_MODULE)
            return
        evaluator = PointEvaluator(module, task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        corners = Corners.of(modes)
        endpoints = corners.thetas.to(evaluator.device.torch_device)
        spokes, pairs = corners.to_other_modes(), corners.between_first(self.num_endpoints)
        for subset, examples in subsets.items():
            evaluate = evaluator.evaluate_on(examples, corners.buffers)
            with numbers_only(f"on the {subset} set", corners.names):
                of_star = probe_spokes(evaluate, endpoints, corners.centres, spokes, num_points=self.num_points)
                of_pairs = probe_spokes(evaluate, endpoints, corners.vertices, pairs, num_points=self.num_points)
            yield from heights_to_ends("inter_star_barrier", of_star, spokes, subset)
            yield from barriers_between("inter_pair_barrier", of_pairs, pairs, corners.of_mode, subset)
