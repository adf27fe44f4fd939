"""Is the loss convex between two updates that SGD might make (Figure 4, bottom; Appendix B)?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Answer, LeftOut, Measurement, TrunkAnalysis
from lmc_lab.analyses.estimates import mean, probability
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.data.examples import Examples
from lmc_lab.data.order import DataOrder, Role
from lmc_lab.inputs import each
from lmc_lab.landscape.convexity import MidpointGap, midpoint_gap
from lmc_lab.runs.manual import ManualTraining
from lmc_lab.runs.states import RunState, Trunk
from lmc_lab.tasks.batch_norm import Buffers
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Natural

_WHOLE = torch.ones(1, 1, dtype=torch.float64)  # the mixture of one point of its own


@final
@dataclass(frozen=True, kw_only=True)
class TrunkMidpointGap(TrunkAnalysis):
    """P(g < 0) over pairs of candidate updates from each state of a trunk.

    Both updates are what the optimizer would do from its state at that step. The loss is in float64, on examples that
    are in no candidate batch: g is O(lr^2), below float32.

    Args:
        steps: of the states; all that are saved for None.
        num_pairs: pairs of candidate updates at each state.
        num_examples: over which the loss is a mean.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "trunk_midpoint_gap"
    steps: Sequence[Natural] | None = None
    num_pairs: Count = 50
    num_examples: Count = 5000
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, trunk: Trunk, task: Task) -> Iterator[Answer]:
        """Yields the share of negative gaps with its interval, the mean gap, and the share above rounding."""
        if len(task.dataset.train) <= task.batch_size:
            yield LeftOut(
                "midpoint gaps", "since a batch is the whole training set, and none is left to measure the loss on"
            )
            return
        evaluator = PointEvaluator(
            task.initialise(trunk.trunk_seed).double(), _in_double(task.dataset.train), self.evaluation
        )
        held_out, rest = (part.on(evaluator.device.torch_device) for part in _divide(task, self.num_examples))
        yield from how(evaluator)
        for state in trunk.states:
            buffers = {name: _double(values) for name, values in state.buffers.items()}
            loss = _loss(evaluator, held_out, buffers)
            point = evaluator.points(state.theta.double()[None], _WHOLE, buffers)
            output_size = max(1.0, evaluator.output_size(point, held_out))
            with numbers_only(f"from the state at step {state.step}"):
                gaps = [
                    midpoint_gap(
                        loss,
                        *(
                            candidate_update(
                                task, trunk.trunk_seed, state, rest, seed, device=evaluator.device.torch_device
                            )
                            for seed in (2 * pair, 2 * pair + 1)
                        ),
                        num_examples=len(held_out),
                        output_size=output_size,
                    )
                    for pair in range(self.num_pairs)
                ]
            yield from _rows(gaps, state.step)


def _loss(evaluator: PointEvaluator, examples: Examples, buffers: Buffers) -> Callable[[Tensor], Tensor]:
    evaluate = evaluator.evaluate_on(examples, buffers)
    return lambda thetas: evaluate(thetas, _WHOLE.expand(len(thetas), 1)).loss


def candidate_update(
    task: Task, trunk_seed: int, state: RunState, examples: Examples, seed: int, *, device: torch.device | None = None
) -> Tensor:
    """Returns W + dW (D,): the parameters after the step that the optimizer would take on candidate batch `seed`.

    The step is made in the precision of training, with its clipping of gradients, on the device (the CPU for None).
    """
    order = DataOrder(Role.CANDIDATE, trunk_seed, seed, len(examples), task.batch_size)
    training = ManualTraining(task, trunk_seed, state, examples, order, device=device or torch.device("cpu"))
    training.advance(state.step)
    return training.theta


def _divide(task: Task, num_examples: int) -> tuple[Examples, Examples]:
    """Returns the held-out examples, in float64, and those that candidate batches are drawn from.

    At most half of the training set is held out.
    """
    train = task.dataset.train
    cut = min(num_examples, len(train) // 2, len(train) - task.batch_size)
    return _in_double(train.draw(cut)), train.undrawn(cut)


def _in_double(examples: Examples) -> Examples:
    return Examples(examples.inputs, _double(examples.targets), lambda inputs: each(_double, examples.prepare(inputs)))


def _double(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values


def _rows(gaps: list[MidpointGap], step: int) -> Iterator[Measurement]:
    values = torch.tensor([gap.value for gap in gaps], dtype=torch.float64)
    yield replace(probability("p_gap_negative", values < 0), step=step)
    yield replace(probability("p_gap_resolved", torch.tensor([gap.is_resolved for gap in gaps])), step=step)
    yield replace(mean("midpoint_gap", values), step=step)
