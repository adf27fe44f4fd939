"""How does the loss look around a hull? A map of it on the plane that holds most of the endpoints' variance."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Choice, LeftOut, Measurement, ModeAnalysis
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.data.examples import Examples
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.hull import corners_of, evaluate_lazily, mixtures_of, sample_hull
from lmc_lab.landscape.plane import NoPlane, Plane, plane_grid, principal_plane
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, NotNegative, Seed, at_least


@final
@dataclass(frozen=True, kw_only=True)
class PlaneOfHull(ModeAnalysis):
    """Places and training losses on the plane through the hull's centre along its first two principal directions.

    The loss of an endpoint, of W_k and of a hull point is that of the point itself, whose place is the closest on the plane;
    that of a point of the grid is the loss on the plane. How much the plane leaves out is one minus its share of variance.

    The policy `interpolate` of BatchNorm mixes moments as endpoints are mixed. In a point of the plane some endpoints have
    negative coefficients, and so might a variance become: they count as zero there, and the others are scaled to sum to one.

    Args:
        num_samples: J, hull points.
        num_grid: points a side of the grid.
        margin: of the grid beyond the outermost endpoints on each side, as a share of what they cover in that direction.
        seed: of the hull points.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "plane"
    num_samples: Count = 100
    num_grid: Annotated[int, at_least(2)] = 15
    margin: NotNegative = 0.3
    seed: Seed = 0
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice | LeftOut]:
        """Yields shares of variance, and x, y and loss of endpoints, hull points, the grid (row by row) and W_k.

        Endpoints on one line, as two always are, have no plane: there are no rows then, but the choice that says so.
        """
        evaluator = PointEvaluator(task.initialise(mode.init_seed), task.dataset.train, self.evaluation)
        train = self.evaluation.examples(task.dataset.train)
        yield from how(evaluator, {"train": train})
        endpoints = mode.endpoints.to(evaluator.device.torch_device)
        try:
            with numbers_only("whose plane is asked for", mode.names):
                plane = principal_plane(endpoints)
        except NoPlane as error:
            yield Choice("plane", f"none: {error}")
            return
        yield from _shares(plane)
        coefficients = sample_hull(endpoints, self.num_samples, seed=self.seed).coefficients
        grid = plane_grid(plane.endpoints, self.num_grid, margin=self.margin)
        on_plane = plane.coefficients(grid)
        groups = [
            corners_of(endpoints),
            mixtures_of(endpoints, coefficients),
            mixtures_of(endpoints, on_plane, of_buffers=_without_negative(on_plane)),
        ]
        with numbers_only("on the train set", mode.names):
            ends, hull, on_grid = evaluate_lazily(evaluator.evaluate_on(train, mode.buffers), groups)
            check_losses(ends.loss, "endpoint")
            check_losses(hull.loss, "hull point", allows_infinity=True)
            check_losses(on_grid.loss, "point of the plane", allows_infinity=True)
        for branch, place, loss in zip(mode.branches, plane.endpoints, ends.loss, strict=True):
            yield from _point("endpoint", place, loss, branch=branch)
        yield from _points("hull_point", coefficients @ plane.endpoints, hull.loss)
        yield from _points("grid", grid, on_grid.loss)
        yield from _split_state(plane, evaluator, mode, train)


def _without_negative(coefficients: Tensor) -> Tensor:
    """Returns coefficients (n, P) that sum to one, with zeros for those that are negative."""
    positive = coefficients.clamp(min=0)
    return positive / positive.sum(dim=1, keepdim=True)


def _shares(plane: Plane) -> Iterator[Measurement]:
    yield Measurement(quantity="plane_share", value=float(plane.shares.sum()))
    for index, share in enumerate(plane.shares, 1):
        yield Measurement(quantity="plane_direction_share", value=float(share), index=index)


def _split_state(
    plane: Plane, evaluator: PointEvaluator, mode: Mode, train: Examples
) -> Iterator[Measurement | LeftOut]:
    """Yields where W_k is on the plane, and its loss."""
    if mode.training is None:
        yield LeftOut("the place and the loss of W_k")
        return
    theta, buffers = mode.training.at_split[None], mode.training.trunk.states[-1].buffers
    evaluate = evaluator.evaluate_on(train, buffers)
    loss = evaluate(theta, torch.ones(1, 1, dtype=torch.float64)).loss
    with numbers_only("at the split, on the train set"):
        check_losses(loss, "state", allows_infinity=True)
    yield from _point("split", plane.places(mode.endpoints, theta)[0], loss[0])


def _points(kind: str, places: Tensor, losses: Tensor) -> Iterator[Measurement]:
    for index, (place, loss) in enumerate(zip(places, losses, strict=True)):
        yield from _point(kind, place, loss, index=index)


def _point(
    kind: str, place: Tensor, loss: Tensor, *, branch: int | None = None, index: int | None = None
) -> Iterator[Measurement]:
    """Yields the place (2,) of a point and its training loss."""
    for axis, coordinate in zip("xy", place.tolist(), strict=True):
        yield Measurement(quantity=f"plane_{kind}_{axis}", value=coordinate, branch=branch, index=index)
    yield Measurement(quantity=f"plane_{kind}_loss", value=float(loss), subset="train", branch=branch, index=index)
