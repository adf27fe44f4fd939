"""Algorithm 1 on a mode: are random points of the hull better than their nearest endpoint (Figure 2, top)?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from torch import Tensor

from lmc_lab.analyses.base import Choice, Measurement, ModeAnalysis, mean, probability
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.hull import MIN_CONCENTRATION, Evaluation, HullProbe, probe_hull, sample_hull
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Seed, at_least


@final
@dataclass(frozen=True, kw_only=True)
class ConvexMode(ModeAnalysis):
    """`p_conv` and `p_rand`, the losses and accuracies behind them, and the Jensen gap; on training and test set.

    Perturbations move in the parameters in which endpoints differ. What is the same bits in all of them was frozen or never
    used: the hull has no extent there, and noise there would be taken from the length that tests what was trained. A hull
    point or a perturbation may have an infinite loss, which is not better than its endpoint's; a NaN makes no row.

    Args:
        num_samples: J.
        seed: of the coefficients and perturbations.
        concentration: of the Dirichlet distribution of the coefficients; 1 is uniform on the simplex.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "convex_mode"
    num_samples: Count
    seed: Seed = 0
    concentration: Annotated[float, at_least(MIN_CONCENTRATION, because="smaller ones round to the centre")] = 1.0
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice]:
        """Yields how points were evaluated, and the rows of each subset."""
        dataset = task.dataset
        evaluator = PointEvaluator(task.initialise(mode.init_seed), dataset.train, self.evaluation)
        yield from how(evaluator)
        endpoints = mode.endpoints.to(evaluator.device.torch_device)
        sample = sample_hull(
            endpoints,
            self.num_samples,
            seed=self.seed,
            concentration=self.concentration,
            movable=mode.layout.varying(endpoints),
        )
        for subset, examples in dataset.subsets.items():
            with numbers_only(f"on the {subset} set", mode.names):
                probe = probe_hull(evaluator.evaluate_on(examples, mode.buffers), endpoints, sample)
            yield from _probabilities(probe, subset)
            yield from _levels(probe, mode.branches, subset)


def _probabilities(probe: HullProbe, subset: str) -> Iterator[Measurement]:
    yield probability("p_conv", probe.is_conv_better, subset=subset)
    yield probability("p_rand", probe.is_rand_better, subset=subset)
    yield mean("jensen_gap", probe.jensen_gap, subset=subset)


def _levels(probe: HullProbe, branches: tuple[int, ...], subset: str) -> Iterator[Measurement]:
    """Yields mean loss and accuracy of each kind of point, and of each endpoint alone."""
    kinds = {
        "endpoint": probe.endpoints,
        "hull_point": probe.conv,
        "perturbation": probe.rand,
        "centre": probe.centre,
    }
    for kind, evaluation in kinds.items():
        for level, values in _columns(evaluation).items():
            yield mean(f"{kind}_{level}", values, subset=subset)
    for level, values in _columns(probe.endpoints).items():
        for branch, value in zip(branches, values, strict=True):
            yield Measurement(quantity=f"branch_{level}", value=float(value), subset=subset, branch=branch)


def _columns(evaluation: Evaluation) -> dict[str, Tensor]:
    columns = {"loss": evaluation.loss, "accuracy": evaluation.accuracy}
    return {name: values for name, values in columns.items() if values is not None}
