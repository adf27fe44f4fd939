"""A kind of subject of one's own, and an analysis of it: are the hulls of neighbouring splits one region?

cd examples; python -m lmc_lab.study study=neighbours --config-dir conf
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, ClassVar, Self, final

from lmc_lab.analyses.barriers import heights_to_ends
from lmc_lab.analyses.base import Analysis, Choice, Measurement
from lmc_lab.analyses.corners import Corners
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.errors import UserError
from lmc_lab.landscape.lines import probe_spokes
from lmc_lab.results.part import Part
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.modes import Modes
from lmc_lab.runs.subject import Request
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import at_least


@final
@dataclass(frozen=True)
class Neighbours(Modes):
    """The modes of two splits of one trunk."""

    stage: ClassVar[str] = "neighbours"

    @classmethod
    def load(cls, experiment: Experiment, request: Request) -> Self:
        """Returns the modes of the two splits that are named."""
        if len(request.split_steps) != 2:
            raise UserError(f"expected two splits, found {list(request.split_steps)}; add 'split_step=[0,100]', say")
        return cls(tuple(Mode.load(experiment, replace(request, split_steps=[step])) for step in request.split_steps))

    @classmethod
    def in_study(cls, trunks: Sequence[int], steps: Sequence[int], seeds: Sequence[int]) -> list[tuple[Part, ...]]:
        """Returns each two neighbouring splits of each trunk."""
        splits = [[Part(trunk, step, tuple(seeds)) for step in sorted(steps)] for trunk in trunks]
        return [pair for of_trunk in splits for pair in pairwise(of_trunk)]

    @classmethod
    def sweep(cls, trunks: str, splits: str, seeds: str) -> list[str]:
        """Returns the overrides that ask for all of them."""
        pairs = pairwise(sorted(splits.split(","), key=float))
        return [
            f"trunk_seed={trunks}",
            f"split_step={','.join(f'[{k},{later}]' for k, later in pairs)}",
            f"seeds=[{seeds}]",
        ]


@final
@dataclass(frozen=True, kw_only=True)
class BetweenSplits(Analysis):
    """Barriers on the lines from the centre of each of the two hulls to the endpoints of the other.

    A row's `index` is the step of the later split.

    Args:
        num_points: on each line, its ends included.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "between_splits"
    subject = Neighbours
    num_points: Annotated[int, at_least(3)] = 11
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, modes: Neighbours, task: Task) -> Iterator[Measurement | Choice]:
        """Yields how points were evaluated, the mean barrier and the largest, of each subset."""
        evaluator = PointEvaluator(task.initialise(modes.members[0].init_seed), task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        corners, later = Corners.of(modes), modes.parts[-1].split_step
        endpoints = corners.thetas.to(evaluator.device.torch_device)
        spokes = corners.to_other_modes()
        for subset, examples in subsets.items():
            evaluate = evaluator.evaluate_on(examples, corners.buffers)
            with numbers_only(f"on the {subset} set", corners.names):
                lines = probe_spokes(evaluate, endpoints, corners.centres, spokes, num_points=self.num_points)
            for barrier in heights_to_ends("barrier_between_splits", lines, spokes, subset):
                yield replace(barrier, index=later)
