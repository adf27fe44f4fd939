"""Is a mode one region up to permutation? The hull of several trunks' endpoints, before and after their neurons are aligned."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.alignments import Aligner
from lmc_lab.analyses.barriers import barriers_between
from lmc_lab.analyses.base import Answer, JointAnalysis, LeftOut, Measurement
from lmc_lab.analyses.corners import NO_MODULE, Corners, module_of_all
from lmc_lab.analyses.estimates import mean, probability
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.data.examples import Examples
from lmc_lab.landscape.hull import hull_points, probe_hull, sample_hull
from lmc_lab.landscape.lines import probe_spokes
from lmc_lab.landscape.parameters import ParameterLayout, state_at
from lmc_lab.landscape.permutations import Block
from lmc_lab.runs.modes import Modes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.layer_outputs import LayerOutputs
from lmc_lab.tasks.permutations import NoPermutations, tried_blocks
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Seed, at_least

_NUM_TRIED = 8  # examples on which a permuted network is seen to compute the same


@final
@dataclass(frozen=True, kw_only=True)
class InterAlignment(JointAnalysis):
    """Algorithm 1 on the union of the endpoints of several modes, and barriers between modes, for each way to align neurons.

    A permutation changes no function, so that what it changes between endpoints is due to the order of neurons alone
    (Entezari et al. 2022, arXiv 2110.06296; Ainsworth et al. 2022, arXiv 2209.04836). The ways, by which quantities end:

    - ``none``: as they are.
    - ``centres``: the weights of each hull's centre are matched to the first hull's; one order for all endpoints of a mode.
    - ``endpoints``: the weights of each endpoint of the other modes are matched to the first hull's centre.
    - ``jointly``: one order for each endpoint of all modes, found together; see `landscape.matching.match_jointly`.
    - ``activations``: as ``centres``, by the results of layers on training examples, before what follows them.
    - ``split``: as ``centres``, by the weights W_k of each trunk at the split.
    - ``pairs``: each pair of endpoints in an order of its own, which no hull of all endpoints has; lines alone.

    In the words of Sharma et al. (2024, arXiv 2404.06498) low barriers of ``pairs`` are weak linear connectivity, those of one
    order for all are strong, and those of ``split`` simultaneous.

    Args:
        num_samples: J, points of the hull of all endpoints.
        num_points: on each line between endpoints, its ends included.
        num_endpoints: of each mode, the first, between which lines are measured.
        num_examples: training examples, chosen at random once and for all, by whose activations neurons are matched.
        seed: of the hull points, the perturbations and the order in which permutations are looked for.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "inter_alignment"
    version: ClassVar[int] = 4
    num_samples: Count = 100
    num_points: Annotated[int, at_least(3)] = 11
    num_endpoints: Annotated[int, at_least(1)] = 3
    num_examples: Count = 512
    seed: Seed = 0
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, modes: Modes, task: Task) -> Iterator[Answer]:
        """Yields `p_conv`, `p_rand`, the centre, barriers, distances and what is right in common, for each way."""
        module = module_of_all(modes, task)
        if module is None:
            yield LeftOut("the hull of several trunks' endpoints", NO_MODULE)
            return
        corners = Corners.of(modes)
        evaluator = PointEvaluator(module, task.dataset.train, self.evaluation)
        subsets, layout = self.evaluation.subsets(task.dataset), task.layout.parameters
        yield from how(evaluator, subsets)
        yield from _named(self._of_union(corners, evaluator, layout, subsets), "none")
        try:
            blocks = _blocks(task, modes.members[0].init_seed, corners)
        except NoPermutations as error:
            yield LeftOut("alignment of neurons", f"since {error}")
            return
        aligner = Aligner(corners, layout, blocks, self.seed)
        examples = task.dataset.train.draw(self.num_examples).on(evaluator.device.torch_device)
        layers = LayerOutputs(module, examples.batch(slice(0, 2))[0])
        ways = {
            "centres": aligner.by_centres(),
            "endpoints": aligner.by_endpoints(),
            "jointly": aligner.jointly(),
            "activations": aligner.by_activations(evaluator, layers, examples),
        }
        at_split = [mode.training.at_split for mode in modes if mode.training is not None]
        if len(at_split) == len(modes.members):
            ways["split"] = aligner.by_points(torch.stack(at_split))
        else:
            yield LeftOut("alignment by weights at the split")
        for way, orders in ways.items():
            yield from _named(self._of_union(aligner.aligned(orders), evaluator, layout, subsets), way)
        yield from _named(self._of_pairs(aligner, evaluator, subsets), "pairs")

    def _of_union(
        self, corners: Corners, evaluator: PointEvaluator, layout: ParameterLayout, subsets: Mapping[str, Examples]
    ) -> Iterator[Measurement]:
        """Yields what is measured of all endpoints in one order."""
        thetas = corners.thetas.to(evaluator.device.torch_device)
        pairs = corners.between_first(self.num_endpoints)
        yield _distance([thetas[list(pair)] for pair in pairs])
        movable = layout.varying(corners.thetas)
        sample = sample_hull(thetas, self.num_samples, seed=self.seed, movable=movable)
        for subset, examples in subsets.items():
            evaluate = evaluator.evaluate_on(examples, corners.buffers)
            with numbers_only(f"on the {subset} set", corners.names):
                probe = probe_hull(evaluate, thetas, sample)
                lines = probe_spokes(evaluate, thetas, corners.vertices, pairs, num_points=self.num_points)
                right = _right(evaluator, corners, thetas, examples)
            yield probability("p_conv", probe.is_conv_better, subset=subset)
            yield probability("p_rand", probe.is_rand_better, subset=subset)
            yield mean("jensen_gap", probe.jensen_gap, subset=subset)
            yield Measurement(quantity="centre_loss", value=float(probe.centre.loss), subset=subset)
            yield from barriers_between("barrier", lines, pairs, corners.of_mode, subset)
            for quantity, value in right.items():
                yield Measurement(quantity=quantity, value=value, subset=subset)

    def _of_pairs(
        self, aligner: Aligner, evaluator: PointEvaluator, subsets: Mapping[str, Examples]
    ) -> Iterator[Measurement]:
        """Yields distances and barriers of pairs, each in an order of its own."""
        pairs = aligner.corners.between_first(self.num_endpoints)
        aligned = [aligner.pair(*pair) for pair in pairs]
        yield _distance([pair.thetas for pair in aligned])
        device = evaluator.device.torch_device
        for subset, examples in subsets.items():
            lines = []
            for pair in aligned:
                evaluate, ends = evaluator.evaluate_on(examples, pair.buffers), pair.thetas.to(device)
                with numbers_only(f"on the {subset} set", pair.names):
                    lines += probe_spokes(evaluate, ends, pair.vertices, [(0, 1)], num_points=self.num_points)
            yield from barriers_between("barrier", lines, pairs, aligner.corners.of_mode, subset)


def _blocks(task: Task, init_seed: int, corners: Corners) -> list[Block]:
    """Returns the units that may change places, tried at the first endpoint.

    Raises:
        NoPermutations: nobody knows them.
    """
    inputs, _ = task.dataset.train.batch(slice(0, _NUM_TRIED))
    state = task.layout.parameters.unflatten(corners.thetas[0]) | state_at(corners.buffers, 0)
    return tried_blocks(task.initialise(init_seed), state, inputs)


def _named(measurements: Iterator[Measurement], way: str) -> Iterator[Measurement]:
    """Yields measurements of a union under names that say how it was aligned."""
    yield from (replace(measurement, quantity=f"{measurement.quantity}_union_{way}") for measurement in measurements)


def _distance(pairs: Sequence[Tensor]) -> Measurement:
    """Returns the mean distance between the endpoints of pairs, (2, D) each."""
    lengths = [float((one.double() - other.double()).norm()) for one, other in pairs]
    return Measurement(quantity="distance", value=sum(lengths) / len(lengths))


def _right(evaluator: PointEvaluator, corners: Corners, thetas: Tensor, examples: Examples) -> dict[str, float]:
    """Returns the share of examples that all corners have right, S*, and of these the share that their centre has right.

    The first is of the functions alone, so that it is the same in every order. {} for a task without right and wrong.
    """
    middle = corners.vertices.mean(dim=0, keepdim=True)
    coefficients = torch.cat([corners.vertices, middle])
    points = evaluator.points(torch.cat([thetas, hull_points(thetas, middle)]), coefficients, corners.buffers)
    masks = evaluator.correct_masks(points, examples)
    if masks is None:
        return {}
    shared = masks[:-1].all(dim=0)
    of_shared = {"centre_right": float(masks[-1][shared].double().mean())} if shared.any() else {}
    return {"shared_correct": float(shared.double().mean()), **of_shared}
