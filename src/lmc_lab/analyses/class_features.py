"""What questions about features of classes share: who evaluates them, and what is said where there are none."""

from collections.abc import Callable, Iterable, Iterator
from math import isnan

import torch
from torch import Tensor

from lmc_lab.analyses.base import Answer, LeftOut, Measurement
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.neural_collapse import ClassMeans
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.batch_norm import Buffers
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.features import Features, NoFeatures
from lmc_lab.tasks.task import Task

OF_TWO_CLASSES = "since the centred means of two classes are opposite vectors, whatever the features"


def with_features(
    task: Task, init_seed: int, settings: EvaluationSettings, measure: Callable[[Features], Iterator[Answer]]
) -> Iterator[Answer]:
    """Yields how points are evaluated and what `measure` finds in their features, or why there are none of classes."""
    try:
        features = Features(task.initialise(init_seed), task.dataset.train, settings)
    except NoFeatures as error:
        yield LeftOut("features of classes", f"since {error}")
        return
    yield from how(features.evaluator)
    yield from measure(features)


def endpoint_means(features: Features, mode: Mode, task: Task) -> Tensor:
    """Returns the class means of the endpoints on the training set, (P, K, D)."""
    each = torch.eye(len(mode), dtype=torch.float64)
    with numbers_only("in its features", mode.names):
        return class_means(features, task, mode.endpoints, each, mode.buffers, kind="endpoint")


def class_means(
    features: Features, task: Task, thetas: Tensor, coefficients: Tensor, buffers: Buffers, *, kind: str
) -> Tensor:
    """Returns class means (n, K, D) on the training set at points (n, D') of a kind.

    Raises:
        NotFinite: one is no number.
    """
    parts = features.summed(ClassMeans.of, thetas, coefficients, buffers, task.dataset.train)
    means = torch.cat([part.means for _, part in parts])
    check_losses(means.sum(dim=(1, 2)).cpu(), kind, what="sum of class means")
    return means


def known(measurements: Iterable[Measurement]) -> Iterator[Measurement]:
    """Yields what is a number: where class means are equal there are no angles between them."""
    yield from (measurement for measurement in measurements if not isnan(measurement.value))
