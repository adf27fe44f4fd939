"""Algorithm 1 on a mode: are random points of the hull better than their nearest endpoint (Figure 2, top)?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from torch import Tensor

from lmc_lab.analyses.base import Choice, Measurement, ModeAnalysis
from lmc_lab.analyses.estimates import mean, probability
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.hull import MIN_CONCENTRATION, Evaluation, HullProbe, HullSample, probe_hull, sample_hull
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Seed, Share, at_least


@final
@dataclass(frozen=True, kw_only=True)
class ConvexMode(ModeAnalysis):
    """`p_conv` and `p_rand`, the losses and accuracies behind them, and the Jensen gap; on training and test set.

    `p_jensen_negative` is the share of hull points whose Jensen gap is below 0: convexity itself, whatever the nearest
    endpoint is.

    Perturbations move in the parameters in which endpoints differ. What is the same bits in all of them was frozen or never
    used: the hull has no extent there, and noise there would be taken from the length that tests what was trained. A hull
    point or a perturbation may have an infinite loss, which is not better than its endpoint's; a NaN makes no row.

    Args:
        num_samples: J.
        seed: of the coefficients and perturbations.
        concentration: of the Dirichlet distribution of the coefficients; 1 is uniform on the simplex.
        resolve: a threshold of `p_conv`; while the interval on the training set has it inside, J is multiplied by 4. None
            leaves J as it is.
        max_samples: J at most, where it grows.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "convex_mode"
    version: ClassVar[int] = 2
    over_time: ClassVar[bool] = True
    num_samples: Count
    seed: Seed = 0
    concentration: Annotated[float, at_least(MIN_CONCENTRATION, because="smaller ones round to the centre")] = 1.0
    resolve: Share | None = None
    max_samples: Count = 1000
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice]:
        """Yields how points were evaluated, and the rows of each subset."""
        evaluator = PointEvaluator(task.initialise(mode.init_seed), task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        endpoints = mode.endpoints.to(evaluator.device.torch_device)

        def probe_on(subset: str, sample: HullSample) -> HullProbe:
            with numbers_only(f"on the {subset} set", mode.names):
                evaluate = evaluator.evaluate_on(subsets[subset], mode.buffers)
                return probe_hull(evaluate, endpoints, sample)

        probes = {"train": self._resolved(lambda sample: probe_on("train", sample), mode, endpoints)}
        for subset in subsets:
            probe = probes.get(subset) or probe_on(subset, probes["train"].sample)
            yield from _probabilities(probe, subset)
            yield from _levels(probe, mode.branches, subset)

    def _resolved(self, probe_with: Callable[[HullSample], HullProbe], mode: Mode, endpoints: Tensor) -> HullProbe:
        """Runs Algorithm 1, with four times as many samples as long as the interval of `p_conv` contains the threshold."""
        num_samples = self.num_samples
        while True:
            probe = probe_with(
                sample_hull(
                    endpoints,
                    num_samples,
                    seed=self.seed,
                    concentration=self.concentration,
                    movable=mode.layout.varying(endpoints),
                )
            )
            is_open = self.resolve is not None and probe.p_conv.low < self.resolve < probe.p_conv.high
            if not is_open or num_samples >= self.max_samples:
                return probe
            num_samples = min(4 * num_samples, self.max_samples)


def _probabilities(probe: HullProbe, subset: str) -> Iterator[Measurement]:
    yield probability("p_conv", probe.is_conv_better, subset=subset)
    yield probability("p_rand", probe.is_rand_better, subset=subset)
    yield probability("p_jensen_negative", probe.jensen_gap < 0, subset=subset)
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
