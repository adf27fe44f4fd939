"""How alike are the functions at a hull's corners, and in other hulls (section 4, Figure 5)?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Choice, JointAnalysis, Measurement, ModeAnalysis, Record
from lmc_lab.analyses.evaluation import evaluated_index, how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.data.examples import Examples
from lmc_lab.data.thumbnails import thumbnails
from lmc_lab.landscape.predictions import (
    draw_examples,
    equal_count_control,
    inter_mode,
    intra_mode,
    pack_mask,
    shrinkage,
)
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.modes import Modes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Natural, Seed


@final
@dataclass(frozen=True, kw_only=True)
class Predictions(ModeAnalysis):
    """|S_j|, the share of examples that all endpoints of a mode have right, against the number of endpoints.

    A task without right and wrong has no rows.

    Args:
        num_examples: kept beside the rows of those that all endpoints have right, and as many of those that not all have;
            fewer where there are fewer. They are the same in all modes as far as they can be.
        evaluation: how an endpoint is evaluated.
    """

    name: ClassVar[str] = "predictions"
    version: ClassVar[int] = 2
    num_examples: Natural = 64
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Record | Choice]:
        """Yields the mean share for every number of endpoints (`index`), the packed correct masks C_i^j, and examples."""
        evaluator = PointEvaluator(task.initialise(mode.init_seed), task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        for subset, examples in subsets.items():
            masks = _correct_masks(evaluator, mode, examples)
            if masks is None:
                continue
            for count, share in enumerate(shrinkage(masks), 1):
                yield Measurement(quantity="shared_correct", value=float(share), index=count, subset=subset)
            yield _share("intra_mode", intra_mode(masks), subset)
            yield Record(f"{subset}_correct", pack_mask(masks))
            yield from evaluated_index(self.evaluation, subset, task.dataset.subsets[subset])
            yield from self._shown(task.dataset.subsets[subset], masks, subset)

    def _shown(self, whole: Examples, masks: Tensor, subset: str) -> Iterator[Record]:
        """Yields examples (n, ...) as they are stored, which they are, their targets, and how many have each right."""
        index = draw_examples(masks, self.num_examples, generator=torch.Generator().manual_seed(0))
        if len(index):
            evaluated = self.evaluation.index(whole)
            numbers = index if evaluated is None else evaluated[index]
            shown = whole.at(numbers)
            if isinstance(shown.inputs, Tensor):  # several inputs are no picture
                yield Record(f"{subset}_examples", thumbnails(shown.inputs))
            yield Record(f"{subset}_examples_index", numbers)
            yield Record(f"{subset}_examples_target", shown.targets)
            yield Record(f"{subset}_examples_num_right", masks[:, index].sum(dim=0))


@final
@dataclass(frozen=True, kw_only=True)
class InterMode(JointAnalysis):
    """|S*|, the share that all endpoints of all modes have right, and the same for as many endpoints as one mode has.

    S* intersects M times as many sets as an S_j, so it is smaller by construction; the control of equal counts is the
    intersection of P endpoints drawn P / M from each mode.

    Args:
        num_draws: of the control.
        seed: of the draws.
        evaluation: how an endpoint is evaluated.
    """

    name: ClassVar[str] = "inter_mode"
    version: ClassVar[int] = 2
    num_draws: Count = 100
    seed: Seed = 0
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, modes: Modes, task: Task) -> Iterator[Measurement | Record | Choice]:
        """Yields |S*|, the control with the range of 95 % of its draws, and the packed sets S_j and S*."""
        train = task.dataset.train
        evaluators = [PointEvaluator(task.initialise(mode.init_seed), train, self.evaluation) for mode in modes]
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluators[0], subsets)
        for subset, examples in subsets.items():
            masks = [
                _correct_masks(evaluator, mode, examples) for evaluator, mode in zip(evaluators, modes, strict=True)
            ]
            known = [mask for mask in masks if mask is not None]
            if not known:
                continue
            sets = [intra_mode(mask) for mask in known]
            shared = inter_mode(sets)
            yield _share("inter_mode", shared, subset)
            yield from self._control(known, subset)
            yield Record(f"{subset}_intra_mode", pack_mask(torch.stack(sets)))
            yield Record(f"{subset}_inter_mode", pack_mask(shared))
            yield from evaluated_index(self.evaluation, subset, task.dataset.subsets[subset])

    def _control(self, masks: list[Tensor], subset: str) -> Iterator[Measurement]:
        generator = torch.Generator().manual_seed(self.seed)
        control = equal_count_control(masks, generator=generator, num_draws=self.num_draws)
        low, high = control.draws.quantile(torch.tensor([0.025, 0.975], dtype=control.draws.dtype)).tolist()
        yield Measurement(
            quantity="equal_count_control",
            value=control.mean,
            low=low,
            high=high,
            num_samples=self.num_draws,
            subset=subset,
        )
        yield Measurement(quantity="equal_count_endpoints", value=control.num_endpoints, subset=subset)


def _correct_masks(evaluator: PointEvaluator, mode: Mode, examples: Examples) -> Tensor | None:
    """Returns C_i^j of all endpoints, bool (P, N).

    Raises:
        UserError: an endpoint's loss is no number.
    """
    points = evaluator.points(mode.endpoints, torch.eye(len(mode), dtype=torch.float64), mode.buffers)
    with numbers_only("in its correct examples", mode.names):
        return evaluator.correct_masks(points, examples)


def _share(quantity: str, members: Tensor, subset: str) -> Measurement:
    return Measurement(quantity=quantity, value=float(members.double().mean()), subset=subset)
