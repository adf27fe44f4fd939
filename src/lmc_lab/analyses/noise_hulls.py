"""Other noise than the order of the data: hulls of branches that differ in one kind of noise alone, and of mixtures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, final

import torch

from lmc_lab.analyses.base import Answer, LeftOut, Measurement, VariedAnalysis
from lmc_lab.analyses.estimates import mean, pair_mean, probability
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.data.examples import Examples
from lmc_lab.data.order import Noise
from lmc_lab.errors import UserError
from lmc_lab.landscape.geometry import centre, distances_to, pairwise_distances
from lmc_lab.landscape.hull import probe_hull, sample_hull
from lmc_lab.landscape.mixtures import Members, alone, between_kinds, mixtures
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.noise import BranchNoise, Factors, FlippedShare, Kind, Spread
from lmc_lab.runs.varied_modes import VariedModes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.noise import lacking
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Seed, distinct

_PLAIN = "plain"  # branches that differ in order, augmentation and dropout


@final
@dataclass(frozen=True, kw_only=True)
class NoiseHulls(VariedAnalysis):
    """Algorithm 1 on hulls of branches that all follow their trunk but for one kind of noise, and of mixtures of kinds.

    The order of the data and its augmentation are the noise of Frankle et al. 2020 (arXiv 1912.05671). Dropout, wrong labels
    and other rates are further ways to leave a trunk; see `runs.noise`. Points are judged on the labels as they are.

    Quantities end by their hull: ``_noise_<kind>``, ``_noise_order_and_<kind>`` with half of the corners of each kind, and
    ``_noise_mixed`` of all kinds in turn; the distance of a mixture is that between corners of different kinds. All hulls
    have equally many corners. Plain branches are of the kind ``order`` where a task has neither augmentation nor dropout; else
    they are ``plain``, and branches of the order alone are trained as well.

    Args:
        kinds: of noise besides the order; those that the task has for None.
        label_share: of the training labels of a branch that are flipped.
        rate_spread: rates are multiplied by numbers between 1 / spread and spread, log-uniform.
        rate_factors: the numbers themselves, that of the branch 0 first; None draws them.
        num_samples: J, of each hull.
        seed: of the coefficients and perturbations.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "noise_hulls"
    kinds: Annotated[Sequence[Kind], distinct()] | None = None
    label_share: FlippedShare = 0.1
    rate_spread: Spread = 2.0
    rate_factors: Factors | None = None
    num_samples: Count = 100
    seed: Seed = 0
    evaluation: EvaluationSettings = EvaluationSettings()

    def variations_of(self, task: Task) -> list[Mapping[str, Any]]:
        """Returns the noise of each kind of which branches are trained.

        Raises:
            UserError: a kind is named that the task does not have.
        """
        return [{"noise": self._noise(kind)} for kind in self._trained(task)]

    def measure(self, modes: VariedModes, task: Task) -> Iterator[Answer]:
        """Yields probabilities, losses and sizes of each hull, and the factors of the rates."""
        if self.kinds is None:
            for kind, reason in lacking(task).items():
                yield LeftOut(f"noise of the kind {kind}", f"which {task.name} does not have: {reason}")
        evaluator = PointEvaluator(task.initialise(modes.mode.init_seed), task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        trained = self._trained(task)
        first = _PLAIN if _is_order_one_of_many(task) else str(Noise.ORDER)
        named = {first: modes.mode, **dict(zip(trained, modes.varied, strict=True))}
        if Noise.RATE in named:
            yield from self._factors(named[Noise.RATE])
        for name, members in _hulls(list(named), min(map(len, named.values()))).items():
            for row in self._of_hull(named, members, evaluator, subsets):
                yield replace(row, quantity=f"{row.quantity}_noise_{name}")

    def _trained(self, task: Task) -> list[str]:
        """Returns the kinds of which branches are trained, the order's first, unless plain ones are of it already."""
        reasons = lacking(task)
        if wrong := [kind for kind in self.kinds or () if kind in reasons]:
            raise UserError(
                f"expected analysis.{self.name}.kinds of noise that {task.name} has, found {wrong[0]}, and "
                f"{reasons[wrong[0]]}; leave it out"
            )
        others = [str(kind) for kind in self.kinds or Noise if kind not in reasons and kind != Noise.ORDER]
        return [str(Noise.ORDER), *others] if _is_order_one_of_many(task) else others

    def _noise(self, kind: str) -> dict[str, Any]:
        """Returns the noise of a kind as the config's node ``branch.noise`` has it."""
        if kind == Noise.LABELS:
            return {"kind": kind, "share": float(self.label_share)}
        if kind == Noise.RATE and self.rate_factors is not None:
            return {"kind": kind, "factors": list(map(float, self.rate_factors))}
        return {"kind": kind, "spread": float(self.rate_spread)} if kind == Noise.RATE else {"kind": kind}

    def _factors(self, mode: Mode) -> Iterator[Measurement]:
        """Yields the number by which each branch multiplied its rate."""
        noise = BranchNoise(**self._noise(Noise.RATE))
        for branch in mode.branches:
            factor = noise.rate_factor(mode.init_seed, branch)
            yield Measurement(quantity="rate_factor", value=factor, branch=branch)

    def _of_hull(
        self, named: Mapping[str, Mode], members: Members, evaluator: PointEvaluator, subsets: Mapping[str, Examples]
    ) -> Iterator[Measurement]:
        corners = [(named[kind], i) for kind, i in members]
        thetas = torch.stack([mode.endpoints[i] for mode, i in corners]).to(evaluator.device.torch_device)
        buffers = {name: torch.stack([mode.buffers[name][i] for mode, i in corners]) for name in corners[0][0].buffers}
        movable = corners[0][0].layout.varying(thetas)
        sample = sample_hull(thetas, self.num_samples, seed=self.seed, movable=movable)
        different = between_kinds(members).to(thetas.device)
        yield pair_mean("endpoint_endpoint", pairwise_distances(thetas), counted=different if different.any() else None)
        yield mean("endpoint_hull_point", sample.distance)
        yield mean("hull_radius", distances_to(thetas, centre(thetas)))
        for subset, examples in subsets.items():
            with numbers_only(f"on the {subset} set", [f"{named[kind].names[i]}, {kind}" for kind, i in members]):
                probe = probe_hull(evaluator.evaluate_on(examples, buffers), thetas, sample)
            yield probability("p_conv", probe.is_conv_better, subset=subset)
            yield probability("p_rand", probe.is_rand_better, subset=subset)
            yield probability("p_jensen_negative", probe.jensen_gap < 0, subset=subset)
            for point, evaluation in (
                ("endpoint", probe.endpoints),
                ("hull_point", probe.conv),
                ("centre", probe.centre),
            ):
                yield mean(f"{point}_loss", evaluation.loss, subset=subset)


def _hulls(kinds: Sequence[str], num_corners: int) -> dict[str, Members]:
    """Returns the corners of each hull by its name."""
    others = [kind for kind in kinds if kind not in (Noise.ORDER, _PLAIN)]
    return {kind: alone(kind, num_corners) for kind in kinds} | mixtures(str(Noise.ORDER), others, num_corners)


def _is_order_one_of_many(task: Task) -> bool:
    """Returns whether plain branches of a task differ in more than the order of their data."""
    return not {Noise.AUGMENTATION, Noise.DROPOUT} <= lacking(task).keys()
