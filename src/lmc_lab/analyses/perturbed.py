"""Does chaos end at the onset? Branches from W_k and from beside it, in the same data order, at their ends."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Answer, LeftOut, Measurement, VariedAnalysis
from lmc_lab.analyses.estimates import bootstrap_mean, mean, probability
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.data.examples import Examples
from lmc_lab.landscape.half_point import half_point
from lmc_lab.landscape.lines import LineProbe, probe_spokes
from lmc_lab.landscape.onset import STABLE_INSTABILITY
from lmc_lab.landscape.perturbation import initial_length
from lmc_lab.runs.perturbation import Kind, moved_in
from lmc_lab.runs.varied_modes import PairedModes, VariedModes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import NotNegative, Seed, Share, at_least, distinct


@final
@dataclass(frozen=True, kw_only=True)
class PerturbedBranches(VariedAnalysis):
    """Whether branches end in one basin that start at W_k and at W_k + sigma e, each pair in a data order of its own.

    See `runs.perturbation` for e (Altintas et al. 2025, arXiv 2506.13234); every pair and every sigma has another. A pair has a
    barrier where its instability in error is above `threshold` (Frankle et al. 2020). `…_sigma_50` is the size at which half
    of the pairs have one: see `landscape.half_point` for its interval, or its bracket where no row `…_sigma_50_slope`
    stands beside it. The interval takes pairs for independent; those of one seed share a data order.

    Rows of a size have its number in `sigmas` as `index`; `perturbation_size` and `perturbation_length` say what it is.

    Args:
        sigmas: sizes, in units of the initialisation's deviation; 0 is a control, and in no fit.
        kinds: of e: ``gaussian``, ``gradient``.
        seed: of the first size's e; each further size has the next.
        threshold: of the instability in error.
        num_points: on the line of each pair, its ends included.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "perturbed_branches"
    sigmas: Annotated[Sequence[NotNegative], distinct(2)] = (0.01, 0.03, 0.1, 0.3, 1.0)
    kinds: Annotated[Sequence[Kind], distinct()] = ("gaussian", "gradient")
    seed: Seed = 0
    threshold: Share = STABLE_INSTABILITY
    num_points: Annotated[int, at_least(3)] = 11
    evaluation: EvaluationSettings = EvaluationSettings()

    @property
    def variations(self) -> list[Mapping[str, Any]]:
        """Returns the starts of each kind and size."""
        target = "lmc_lab.runs.perturbation.perturbed"
        return [
            {"start": {"_target_": target, "sigma": float(sigma), "kind": kind, "seed": self.seed + number}}
            for kind in self.kinds
            for number, sigma in enumerate(self.sigmas)
        ]

    def measure(self, modes: VariedModes, task: Task) -> Iterator[Answer]:
        """Yields distances and barriers of each size, the share of pairs that have one, and `…_sigma_50`."""
        evaluator = PointEvaluator(task.initialise(modes.mode.init_seed), task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        unit = initial_length(moved_in(task, modes.mode.init_seed))
        for number, sigma in enumerate(self.sigmas):
            yield Measurement(quantity="perturbation_size", value=sigma, index=number)
            yield Measurement(quantity="perturbation_length", value=sigma * unit, index=number)
        for position, kind in enumerate(self.kinds):
            varied = modes.varied[position * len(self.sigmas) : (position + 1) * len(self.sigmas)]
            yield from self._of_kind(kind, [PairedModes.of(modes.mode, each) for each in varied], evaluator, subsets)

    def _of_kind(
        self, kind: str, pairs_of: Sequence[PairedModes], evaluator: PointEvaluator, subsets: Mapping[str, Examples]
    ) -> Iterator[Measurement | LeftOut]:
        for number, pairs in enumerate(pairs_of):
            yield replace(mean(f"{kind}_distance", pairs.distances), index=number)
        for subset, examples in subsets.items():
            has_barrier: list[Tensor] = []
            for number, pairs in enumerate(pairs_of):
                with numbers_only(f"on the {subset} set", pairs.names):
                    lines = _lines(pairs, evaluator, examples, self.num_points)
                yield from (replace(row, index=number, subset=subset) for row in _heights(kind, lines))
                unstable = [line.error.instability > self.threshold for line in lines if line.error]
                has_barrier.append(torch.tensor(unstable, dtype=torch.bool))
                if unstable:
                    yield replace(probability(f"p_{kind}_barrier", has_barrier[-1]), index=number, subset=subset)
            yield from self._sigma_50(kind, has_barrier, subset)

    def _sigma_50(self, kind: str, has_barrier: Sequence[Tensor], subset: str) -> Iterator[Measurement | LeftOut]:
        """Yields sigma_50 from which pairs of each size have a barrier, (pairs,) each."""
        trials = [
            (sigma, of_size)
            for sigma, of_size in zip(self.sigmas, has_barrier, strict=True)
            if sigma > 0 and len(of_size)
        ]
        what = f"sigma_50 of {kind} perturbations on the {subset} set"
        if not trials:
            yield LeftOut(what, "since the task has no right and wrong")
            return
        sizes = torch.cat([torch.full((len(of_size),), sigma, dtype=torch.float64) for sigma, of_size in trials])
        half = half_point(sizes, torch.cat([of_size for _, of_size in trials]))
        if half is None:
            yield LeftOut(what, "since barriers are not more frequent at larger sizes")
            return
        row = Measurement(quantity=f"{kind}_sigma_50", value=half.value, num_samples=len(sizes), subset=subset)
        yield replace(row, low=half.low, high=half.high)
        if half.slope is not None:
            yield replace(row, quantity=f"{kind}_sigma_50_slope", value=half.slope)


def _lines(pairs: PairedModes, evaluator: PointEvaluator, examples: Examples, num_points: int) -> list[LineProbe]:
    """Returns the probe of the line between the endpoints of each pair."""
    endpoints = pairs.endpoints.to(evaluator.device.torch_device)
    vertices = torch.eye(len(endpoints), dtype=torch.float64)
    ends = [(i, len(pairs) + i) for i in range(len(pairs))]
    evaluate = evaluator.evaluate_on(examples, pairs.buffers)
    return probe_spokes(evaluate, endpoints, vertices[: len(pairs)], ends, num_points=num_points)


def _heights(kind: str, lines: Sequence[LineProbe]) -> Iterator[Measurement]:
    """Yields the mean barrier and instability over pairs, in loss and in error, and the mean loss of perturbed branches."""
    yield mean(f"{kind}_endpoint_loss", torch.stack([line.loss.values[-1] for line in lines]))
    for level in lines[0].levels:
        for name in ("barrier", "instability"):
            heights = torch.tensor([getattr(line.levels[level], name) for line in lines], dtype=torch.float64)
            yield bootstrap_mean(f"{kind}_{name}_{level}", heights)
