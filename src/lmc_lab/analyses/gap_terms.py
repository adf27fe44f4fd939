"""Why is a hull point better than its endpoints: since their outputs average, or since the network is bent?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Choice, LeftOut, Measurement, ModeAnalysis
from lmc_lab.analyses.estimates import mean, probability
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.data.examples import Examples
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.gap_terms import GapTerms, mean_outputs, mean_probabilities
from lmc_lab.landscape.hull import Evaluation, HullSample, centre_of, hull_points, sample_hull
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Seed


@final
@dataclass(frozen=True, kw_only=True)
class GapTermsOfHull(ModeAnalysis):
    """The Jensen gap of hull points, split into `gap_averaging` and `gap_bend` (see `landscape.gap_terms`).

    L(W_conv) - L(W_end) = gap_bend - gap_averaging + gap_corner; `gap_excess` is that sum. They are means over J hull
    points; of the training set each point has rows `point_…`, with its distance to the nearest endpoint.
    `gap_averaging_probabilities` is what the mean of probabilities gains where `gap_averaging` is of the mean of outputs.
    `ensemble_…` is of the mean of all endpoints' outputs, `probabilities_…` of the mean of their probabilities: to be seen
    beside the hull's centre.

    Args:
        num_samples: J; the points are the first J of `convex_mode` with the same seed and number.
        seed: of the hull points.
        evaluation: how the outputs of a point are computed.
    """

    name: ClassVar[str] = "gap_terms"
    version: ClassVar[int] = 2
    over_time: ClassVar[bool] = True
    num_samples: Count = 100
    seed: Seed = 0
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice | LeftOut]:
        """Yields the terms, and the ensembles, of each subset."""
        module = task.initialise(mode.init_seed)
        evaluator = PointEvaluator(module, task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        if not evaluator.loss_is_of_outputs:
            yield LeftOut(
                "the terms of the Jensen gap", "since the loss has parameters of its own or reads more than outputs"
            )
            return
        endpoints = mode.endpoints.to(evaluator.device.torch_device)
        sample = sample_hull(endpoints, self.num_samples, seed=self.seed)
        outputs = _Mixtures(evaluator, mode, sample, has_classes=isinstance(module, Classification))
        for subset, examples in subsets.items():
            with numbers_only(f"on the {subset} set", mode.names):
                evaluations = outputs.evaluate(endpoints, examples)
                check_losses(evaluations["endpoint"].loss, "endpoint")
                check_losses(evaluations["hull_point"].loss, "hull point", allows_infinity=True)
            yield from _terms(evaluations, sample, subset)
            for kind in ("ensemble", "probabilities"):
                yield from _levels(kind, evaluations.get(kind), subset)


@dataclass(frozen=True)
class _Mixtures:
    """Evaluates hull points, and the means of outputs at their coefficients, on the same examples."""

    evaluator: PointEvaluator
    mode: Mode
    sample: HullSample
    has_classes: bool

    def evaluate(self, endpoints: Tensor, examples: Examples) -> dict[str, Evaluation]:
        """Returns the evaluations of endpoints (P), of hull points and of means at their coefficients (n), of ensembles (1)."""
        coefficients, num_endpoints = self.sample.coefficients, len(endpoints)
        vertices = torch.eye(num_endpoints, dtype=torch.float64)
        middle = centre_of(num_endpoints)
        thetas = torch.cat([endpoints, hull_points(endpoints, coefficients)])
        points = self.evaluator.points(thetas, torch.cat([vertices, coefficients]), self.mode.buffers)

        def with_means(outputs: Tensor) -> Tensor:
            ends, mixed = outputs[:num_endpoints], torch.cat([coefficients, middle])
            probabilities = [mean_probabilities(ends, mixed)] if self.has_classes else []
            return torch.cat([outputs, mean_outputs(ends, mixed), *probabilities])

        num_points = len(coefficients)
        counts = {"endpoint": num_endpoints, "hull_point": num_points, "mean_outputs": num_points, "ensemble": 1}
        counts |= {"mean_probabilities": num_points, "probabilities": 1} if self.has_classes else {}
        evaluation = self.evaluator.evaluate_outputs(points, examples, with_means)
        return dict(zip(counts, evaluation.separate(list(counts.values())), strict=True))


def _terms(evaluations: dict[str, Evaluation], sample: HullSample, subset: str) -> Iterator[Measurement]:
    losses = {kind: evaluation.loss for kind, evaluation in evaluations.items()}
    terms = GapTerms.of(
        hull=losses["hull_point"],
        mean_outputs=losses["mean_outputs"],
        endpoints=losses["endpoint"],
        coefficients=sample.coefficients,
        nearest=sample.nearest,
    )
    columns = {"bend": terms.bend, "averaging": terms.averaging, "corner": terms.corner, "excess": terms.excess}
    for name, values in columns.items():
        yield mean(f"gap_{name}", values, subset=subset)
    if "mean_probabilities" in losses:
        gain = terms.gain_of(losses["mean_probabilities"], losses["mean_outputs"])
        yield mean("gap_averaging_probabilities", gain, subset=subset)
    yield probability("p_bend_negative", terms.bend < 0, subset=subset)
    if subset == "train":
        for name, values in {**columns, "distance": sample.distance}.items():
            for index, value in enumerate(values.tolist()):
                yield Measurement(quantity=f"point_{name}", value=value, subset=subset, index=index)


def _levels(kind: str, evaluation: Evaluation | None, subset: str) -> Iterator[Measurement]:
    if evaluation is None:
        return
    yield Measurement(quantity=f"{kind}_loss", value=float(evaluation.loss), subset=subset)
    if evaluation.accuracy is not None:
        yield Measurement(quantity=f"{kind}_accuracy", value=float(evaluation.accuracy), subset=subset)
