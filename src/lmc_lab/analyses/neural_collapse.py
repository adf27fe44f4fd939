"""Does neural collapse announce the hull? NC1 to NC3 along trunks and branches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Answer, LeftOut, Measurement, ModeAnalysis, TrunkAnalysis
from lmc_lab.analyses.class_features import OF_TWO_CLASSES, known, with_features
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.neural_collapse import ClassMoments, Collapse
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.states import RunState, Trunk
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.features import Features
from lmc_lab.tasks.task import Task
from lmc_lab.values import Natural


@final
@dataclass(frozen=True, kw_only=True)
class TrunkCollapse(TrunkAnalysis):
    """How far the features of the training set are from neural collapse at the states of a trunk.

    See `landscape.neural_collapse`. A task without classes, or whose model does not end in a linear layer, has no rows;
    nor have states at which all class means are equal. Of two classes there is no NC2, which would be 0 for any features.

    Args:
        steps: of the states; all that are saved for None.
        evaluation: how features of a point are computed.
    """

    name: ClassVar[str] = "trunk_collapse"
    version: ClassVar[int] = 2
    steps: Sequence[Natural] | None = None
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, trunk: Trunk, task: Task) -> Iterator[Answer]:
        """Yields NC1 to NC3 and the mean norm of features at each state; `num_samples` is that of examples."""
        points = [_of_state(state) for state in trunk.states]
        find = partial(_collapse, points=points, task=task)
        with numbers_only("in its features", [f"step {point.step}" for point in points]):
            yield from with_features(task, trunk.trunk_seed, self.evaluation, find)


@final
@dataclass(frozen=True, kw_only=True)
class BranchCollapse(ModeAnalysis):
    """The same along all branches of a mode and at their endpoints; see `TrunkCollapse`.

    Args:
        steps: of the branches on their way; those before the split are the trunk's, and left out.
        evaluation: how features of a point are computed.
    """

    name: ClassVar[str] = "branch_collapse"
    version: ClassVar[int] = 2
    steps: Sequence[Natural] = ()
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Answer]:
        """Yields the same rows of each branch at each step and at its endpoint, whose step may be unknown."""
        yield from self.without_states(mode)
        points = [*_endpoints(mode), *_on_the_way(mode)]
        names = dict(zip(mode.branches, mode.names, strict=True))
        with numbers_only("in its features", [names[point.branch] for point in points if point.branch is not None]):
            yield from with_features(
                task, mode.init_seed, self.evaluation, partial(_collapse, points=points, task=task)
            )


@dataclass(frozen=True)
class _Point:
    """A state of a run, and what rows say of it."""

    theta: Tensor  # (D,)
    buffers: Mapping[str, Tensor]  # name -> (1, *shape)
    step: int | None
    branch: int | None


def _of_state(state: RunState, branch: int | None = None) -> _Point:
    return _Point(state.theta, state.buffers, state.step, branch)


def _endpoints(mode: Mode) -> Iterator[_Point]:
    last = mode.training.last_step if mode.training else None
    for i, (theta, branch) in enumerate(zip(mode.endpoints, mode.branches, strict=True)):
        yield _Point(theta, {name: values[i : i + 1] for name, values in mode.buffers.items()}, last, branch)


def _on_the_way(mode: Mode) -> Iterator[_Point]:
    if mode.training is not None:
        for i, branch in enumerate(mode.branches):
            yield from (_of_state(state, branch) for state in mode.training.states_of(i))


def _collapse(features: Features, *, points: Sequence[_Point], task: Task) -> Iterator[Measurement | LeftOut]:
    """Yields the measures at each of the points.

    Raises:
        NotFinite: a point has features that are no numbers.
    """
    if not points:
        return
    thetas = torch.stack([point.theta for point in points])
    buffers = {name: torch.cat([point.buffers[name] for point in points]) for name in points[0].buffers}
    each = torch.eye(len(points), dtype=torch.float64)
    parts = features.summed(ClassMoments.of, thetas, each, buffers, task.dataset.train)
    check_losses(torch.cat([moments.norms for _, moments in parts]).cpu(), "endpoint", what="norm of features")
    says_nothing = ("nc2_",) if len(features.classes) == 2 else ()
    if says_nothing:
        yield LeftOut("NC2", OF_TWO_CLASSES)
    for cut, moments in parts:
        measures = vars(Collapse.of(moments, features.weights(thetas[cut])))
        for quantity, values in measures.items():
            if quantity.startswith(says_nothing):
                continue
            yield from known(
                Measurement(
                    quantity=quantity,
                    value=value,
                    num_samples=moments.num_examples,
                    subset="train",
                    step=point.step,
                    branch=point.branch,
                )
                for point, value in zip(points[cut], values.tolist(), strict=True)
            )
