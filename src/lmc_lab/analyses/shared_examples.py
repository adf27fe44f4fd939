"""Is the hull there since endpoints agree? Branches that see from W_k on what all endpoints have right, or what they do not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Answer, LeftOut, Measurement, VariedAnalysis
from lmc_lab.analyses.estimates import bootstrap_pair_mean, mean, probability, symmetric
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.data.examples import Examples
from lmc_lab.errors import UserError
from lmc_lab.landscape.hull import probe_hull, sample_hull
from lmc_lab.landscape.lines import probe_lines
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.varied_modes import VariedModes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Seed, at_least, distinct

Way = Literal["shared", "unshared", "random_unshared", "random_shared"]
Place = Literal["split", "endpoints"]


@final
@dataclass(frozen=True, kw_only=True)
class SharedExamples(VariedAnalysis):
    """The hull of branches that see S_j alone from W_k on, its complement, or as many examples drawn at random.

    S_j are the training examples that all plain endpoints of the split have right (the discussion of the paper proposes both;
    see `runs.agreement`). Branches of each way have the seeds, the length and the optimizer's state of the plain ones.
    Where S_j or its complement has fewer examples than a batch, its ways have no branches there, and are left out.
    `random_unshared` are as many as the complement has, `random_shared` as many as S_j has: the first of one random order.
    They may also train on from the plain endpoints, each from that of its own seed (`runs.continuation`).

    Rows `…_on_<way>` are of the hull of the branches of a way, `…_on_<way>_own` those of the loss on the examples that these
    saw. `…_of_shared` and `…_of_unshared` are of the plain hull, of the loss on S_j or its complement. With
    `evaluation.num_examples` these losses are over so many examples drawn from the part; which part it is follows from all.

    Args:
        num_endpoints: of the plain branches, those with the seeds below it, whose S_j it is.
        ways: of choosing examples.
        start: where branches begin: at W_k (``split``), or at the ``endpoints``.
        num_samples: J, of each hull.
        num_points: on the line of each pair, its ends included.
        seed: of hull points and of random examples.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "shared_examples"
    num_endpoints: Annotated[int, at_least(2)] = 5
    ways: Annotated[Sequence[Way], distinct()] = ("shared", "unshared", "random_unshared", "random_shared")
    start: Place = "split"
    num_samples: Count = 100
    num_points: Annotated[int, at_least(3)] = 5
    seed: Seed = 0
    evaluation: EvaluationSettings = EvaluationSettings()

    @property
    def variations(self) -> list[Mapping[str, Any]]:
        """Returns the examples of each way, and where branches start, if that is not W_k."""
        start = {"start": {"_target_": "lmc_lab.runs.continuation.own_endpoint"}} if self.start == "endpoints" else {}
        return [{**start, "examples": self._rule(way)} for way in self.ways]

    @property
    def plain_branches(self) -> int:
        """Returns `num_endpoints`."""
        return self.num_endpoints

    def variations_of(self, task: Task) -> Sequence[Mapping[str, Any]]:
        """Returns the same for a task that has right and wrong.

        Raises:
            UserError: it has none, which is said before a branch is trained.
        """
        module = task.initialise(0).eval()
        inputs, targets = task.dataset.train.batch(slice(0, 1))
        with torch.no_grad():
            if module.is_correct(module(inputs), targets) is None:
                raise UserError(
                    f"expected a task with right and wrong for analysis.{self.name}, found {task.name} without; leave it out"
                )
        return self.variations

    def _rule(self, way: Way) -> dict[str, Any]:
        common = {"_target_": "lmc_lab.runs.agreement.by_agreement", "num_endpoints": self.num_endpoints}
        random = {"at_random": True, "seed": self.seed} if way.startswith("random") else {}
        policy = self.evaluation.bn_policy
        policy_setting = {} if policy == EvaluationSettings.bn_policy else {"bn_policy": str(policy)}
        return {**common, "part": way.removeprefix("random_"), **random, **policy_setting}

    def measure(self, modes: VariedModes, task: Task) -> Iterator[Answer]:
        """Yields `p_conv`, `p_rand`, P(Jensen gap < 0), losses, accuracies and barriers of each hull."""
        dataset = task.dataset
        evaluator = PointEvaluator(task.initialise(modes.mode.init_seed), dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        for way, mode in zip(self.ways, modes.varied, strict=True):
            if not len(mode):
                yield LeftOut(f"branches on {_said(way)}", "which are fewer than a batch takes")
                continue
            chosen = _chosen(mode)
            own = self.evaluation.examples(dataset.train.at(chosen))
            yield Measurement(quantity=f"num_examples_on_{way}", value=len(chosen))
            for subset, examples in subsets.items():
                yield from self._of_hull(evaluator, mode, examples, f"on_{way}", subset)
            yield from self._of_hull(evaluator, mode, own, f"on_{way}_own", "train")
            if not way.startswith("random"):
                yield from self._of_hull(evaluator, modes.mode, own, f"of_{way}", "train")

    def _of_hull(
        self, evaluator: PointEvaluator, mode: Mode, examples: Examples, suffix: str, subset: str
    ) -> Iterator[Measurement]:
        """Yields what is measured of the hull of a mode on some examples."""
        endpoints = mode.endpoints.to(evaluator.device.torch_device)
        evaluate = evaluator.evaluate_on(examples, mode.buffers)
        movable = mode.layout.varying(endpoints)
        sample = sample_hull(endpoints, self.num_samples, seed=self.seed, movable=movable)
        with numbers_only(f"on the {subset} set", mode.names):
            probe = probe_hull(evaluate, endpoints, sample)
            lines = probe_lines(evaluate, endpoints, num_points=self.num_points)
        rows = [
            probability("p_conv", probe.is_conv_better),
            probability("p_rand", probe.is_rand_better),
            probability("p_jensen_negative", probe.jensen_gap < 0),
        ]
        for kind, evaluation in {"endpoint": probe.endpoints, "hull_point": probe.conv}.items():
            rows.append(mean(f"{kind}_loss", evaluation.loss))
            rows += [] if evaluation.accuracy is None else [mean(f"{kind}_accuracy", evaluation.accuracy)]
        for level in lines[0, 1].levels:
            heights = symmetric({pair: line.levels[level].barrier for pair, line in lines.items()}, len(endpoints))
            rows.append(bootstrap_pair_mean(f"barrier_{level}", heights))
        yield from (replace(row, quantity=f"{row.quantity}_{suffix}", subset=subset) for row in rows)


def _said(way: Way) -> str:
    """Returns what a sentence calls the examples of a way."""
    how_many = "all" if way.removeprefix("random_") == "shared" else "not all"
    part = f"examples that {how_many} endpoints have right"
    return f"as many random examples as there are {part}" if way.startswith("random") else part


def _chosen(mode: Mode) -> Tensor:
    """Returns which training examples the branches of a mode saw, int64 (n,).

    Raises:
        UserError: nobody knows.
    """
    training = mode.training
    chosen: Tensor | None = training.examples if training else None
    if chosen is None:
        command = f": {training.trained_by}" if training else ""
        raise UserError(
            "expected branches of chosen examples with the file of the choice, found none; give the command that trains "
            f"them again, which makes it{command}"
        )
    return chosen
