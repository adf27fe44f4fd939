"""Is the loss convex between two updates that SGD might make (Figure 4, bottom; Appendix B)?"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Measurement, TrunkAnalysis, mean, probability
from lmc_lab.data.examples import Examples
from lmc_lab.data.order import DataOrder, Role, StepBatches
from lmc_lab.landscape.convexity import MidpointGap, midpoint_gap
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.runs.states import RunState, Trunk
from lmc_lab.tasks.objective import Buffers, EvaluationSettings, Objective
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

    def measure(self, trunk: Trunk, task: Task) -> Iterator[Measurement]:
        """Yields the share of negative gaps with its interval, the mean gap, and the share above rounding."""
        held_out, rest = _divide(task, self.num_examples)
        objective = Objective(
            task.initialise(trunk.trunk_seed).double(), _in_double(task.dataset.train), self.evaluation
        )
        for state in trunk.states:
            buffers = {name: _double(values) for name, values in state.buffers.items()}
            loss = _loss(objective, held_out, buffers)
            point = objective.points(state.theta.double()[None], _WHOLE, buffers)
            output_size = max(1.0, objective.output_size(point, held_out))
            gaps = [
                midpoint_gap(
                    loss,
                    *(candidate_update(task, trunk.trunk_seed, state, rest, seed) for seed in (2 * pair, 2 * pair + 1)),
                    num_examples=len(held_out),
                    output_size=output_size,
                )
                for pair in range(self.num_pairs)
            ]
            yield from _rows(gaps, state.step)


def _loss(objective: Objective, examples: Examples, buffers: Buffers) -> Callable[[Tensor], Tensor]:
    evaluate = objective.evaluator(examples, buffers)
    return lambda thetas: evaluate(thetas, _WHOLE.expand(len(thetas), 1)).loss


def candidate_update(task: Task, trunk_seed: int, state: RunState, examples: Examples, seed: int) -> Tensor:
    """Returns W + dW (D,): the parameters after the step that the optimizer would take on candidate batch `seed`."""
    module = task.initialise(trunk_seed)
    layout = ParameterLayout.of(dict(module.model.named_parameters()))
    buffers = {name: values[0] for name, values in state.buffers.items()}
    module.model.load_state_dict(layout.unflatten(state.theta) | buffers)
    optimizer = module.configure_optimizers()
    optimizer.load_state_dict(copy.deepcopy(dict(state.optimizer)))
    order = DataOrder(Role.CANDIDATE, trunk_seed, seed, len(examples), task.batch_size)
    torch.manual_seed(order.noise_seed(state.step))
    batch = StepBatches(examples, order, augment=task.dataset.augment).at(state.step)
    module.training_loss(batch).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return layout.flatten({name: value.detach() for name, value in module.model.named_parameters()})


def _divide(task: Task, num_examples: int) -> tuple[Examples, Examples]:
    """Returns the held-out examples, in float64, and those that candidate batches are drawn from.

    At most half of the training set is held out.
    """
    train = task.dataset.train
    cut = min(num_examples, len(train) // 2, len(train) - task.batch_size)
    return _in_double(train.draw(cut)), train.undrawn(cut)


def _in_double(examples: Examples) -> Examples:
    return Examples(examples.inputs, _double(examples.targets), lambda inputs: examples.prepare(inputs).double())


def _double(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values


def _rows(gaps: list[MidpointGap], step: int) -> Iterator[Measurement]:
    values = torch.tensor([gap.value for gap in gaps], dtype=torch.float64)
    yield replace(probability("p_gap_negative", values < 0), step=step)
    yield replace(probability("p_gap_resolved", torch.tensor([gap.is_resolved for gap in gaps])), step=step)
    yield replace(mean("midpoint_gap", values), step=step)
