"""What shape is a mode, layer by layer? Which layers make barriers, and of which features are linear in the parameters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Choice, Measurement, ModeAnalysis
from lmc_lab.analyses.estimates import mean, pair_mean, symmetric
from lmc_lab.analyses.evaluation import how, where
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.data.examples import Examples
from lmc_lab.landscape.feature_linearity import deviations
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.gap_terms import mean_outputs
from lmc_lab.landscape.hull import hull_points, sample_hull
from lmc_lab.landscape.layers import layer_barriers, layers_of
from lmc_lab.landscape.lines import midpoint_coefficients, pairs_of
from lmc_lab.landscape.parameters import state_at
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.layer_outputs import LayerOutputs
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Seed, at_least

_EXAMPLES_AT_A_TIME = 32  # of which the features of all layers at all points are in memory


@final
@dataclass(frozen=True, kw_only=True)
class LayerBarriersOfMode(ModeAnalysis):
    """Barriers of pairs of endpoints where one layer alone is averaged, beside those of random moves of that layer.

    See `landscape.layers`. On the training set. Parameters that are the same bits in all endpoints have no barrier.

    Args:
        num_endpoints: all pairs of this many endpoints, the first of the mode.
        seed: of the random directions.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "layer_barriers"
    num_endpoints: Annotated[int, at_least(2)] = 5
    seed: Seed = 0
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice]:
        """Yields the mean over pairs of each layer (`index` from 1) and of its control; the rows' settings name layers."""
        evaluator = PointEvaluator(task.initialise(mode.init_seed), task.dataset.train, self.evaluation)
        train = self.evaluation.examples(task.dataset.train)
        yield from how(evaluator, {"train": train})
        layers = layers_of(mode.layout)
        yield Choice("layers", ", ".join(layers))
        endpoints = mode.endpoints[: self.num_endpoints].to(evaluator.device.torch_device)
        buffers = {name: values[: self.num_endpoints] for name, values in mode.buffers.items()}
        with numbers_only("on the train set", mode.names):
            evaluate = evaluator.evaluate_on(train, buffers)
            barriers = layer_barriers(evaluate, endpoints, list(layers.values()), seed=self.seed)
        kinds = {"layer_barrier": barriers.averaged, "layer_barrier_random": barriers.moved}
        for quantity, of_layers in kinds.items():
            for index, matrix in enumerate(of_layers, 1):
                yield replace(pair_mean(quantity, matrix, subset="train"), index=index)


@final
@dataclass(frozen=True, kw_only=True)
class FeatureLinearity(ModeAnalysis):
    """Layer by layer, how far features are from linear in the parameters: see `landscape.feature_linearity`.

    Features are the results of modules with parameters, before what follows them.

    Args:
        num_samples: J, hull points; the first J of `convex_mode` with the same seed and number.
        seed: of the hull points.
        num_examples: training examples, chosen at random once and for all, over which deviations are means.
        evaluation: how buffers of a point follow.
    """

    name: ClassVar[str] = "feature_linearity"
    num_samples: Count = 20
    seed: Seed = 0
    num_examples: Count = 512
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice]:
        """Yields deviations of each layer (`index` from 1): at hull points, halfway between endpoints, and between them."""
        module = task.initialise(mode.init_seed)
        evaluator = PointEvaluator(module, task.dataset.train, self.evaluation)
        yield from where(evaluator)
        examples = task.dataset.train.draw(self.num_examples).on(evaluator.device.torch_device)
        pairs = pairs_of(len(mode))
        drawn = sample_hull(mode.endpoints, self.num_samples, seed=self.seed).coefficients
        layers = LayerOutputs(module, examples.batch(slice(0, 2))[0])
        yield Choice("layers", ", ".join(layers.names))
        points = torch.cat([drawn, midpoint_coefficients(len(mode))])
        with numbers_only("in its features"):
            in_hull, between = _deviations(evaluator, layers, mode, examples, points, pairs)
            check_losses(in_hull.sum(dim=0), "hull point", what="features")
        for index, (of_points, at_ends) in enumerate(zip(in_hull, between, strict=True), 1):
            hull, middle = of_points.split([len(drawn), len(pairs)])
            measurements = [mean("feature_deviation_hull", hull, subset="train")]
            for kind, values in (("halfway", middle), ("endpoints", at_ends)):
                matrix = symmetric(dict(zip(pairs, values.tolist(), strict=True)), len(mode))
                measurements.append(pair_mean(f"feature_deviation_{kind}", matrix, subset="train"))
            yield from (replace(measurement, index=index) for measurement in measurements)


def _deviations(
    evaluator: PointEvaluator,
    layers: LayerOutputs,
    mode: Mode,
    examples: Examples,
    coefficients: Tensor,
    pairs: Sequence[tuple[int, int]],
) -> tuple[Tensor, Tensor]:
    """Returns the deviations of each layer at n points of the hull, (L, n), and between pairs of endpoints, (L, pairs)."""
    endpoints = mode.endpoints.to(evaluator.device.torch_device)
    ends = evaluator.points(endpoints, torch.eye(len(mode), dtype=torch.float64), mode.buffers)
    points = evaluator.points(hull_points(endpoints, coefficients), coefficients, mode.buffers)
    first, second = torch.tensor(pairs).T
    in_hull = torch.zeros(len(layers.names), len(coefficients), dtype=torch.float64)
    between = torch.zeros(len(layers.names), len(pairs), dtype=torch.float64)
    for inputs, _ in examples.chunks(_EXAMPLES_AT_A_TIME):
        of_ends = [layers.at(state_at(ends, i), inputs) for i in range(len(mode))]
        stacked = [torch.stack(results) for results in zip(*of_ends, strict=True)]  # of each layer (P, B, F)
        between += torch.stack([deviations(point[first], point[second]).sum(dim=1) for point in stacked]).cpu()
        for i, point in enumerate(coefficients):
            mixed = [mean_outputs(results, point[None])[0] for results in stacked]
            by_layer = zip(layers.at(state_at(points, i), inputs), mixed, strict=True)
            in_hull[:, i] += torch.stack([deviations(features, other).sum() for features, other in by_layer]).cpu()
    return in_hull / len(examples), between / len(examples)
