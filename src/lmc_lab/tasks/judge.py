"""Losses and correctness of outputs at points, with each point's own parameters and buffers where the loss has some."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from lmc_lab.errors import UserError
from lmc_lab.inputs import Inputs
from lmc_lab.landscape.parameters import state_at
from lmc_lab.tasks.forward_pass import ForwardPass, items
from lmc_lab.tasks.judged_model import JudgedModel
from lmc_lab.torch_internals import version_of

Judged = TypeVar("Judged")
State = Mapping[str, Tensor]  # name -> (*shape), the parameters and buffers of one point


@final
class Judge:
    """Losses and correctness of the outputs of n points.

    `stored` says in words what of a forward pass the loss may read besides the outputs, "" for nothing (`forward_pass`). If
    there is something, one point must be judged at a time, right after its own forward pass on the same examples.

    Args:
        task: says both.
        inputs: an example of what the model takes, (B, ...).
        targets: of these, (B, ...).
    """

    def __init__(self, task: JudgedModel, inputs: Inputs, targets: Tensor) -> None:
        self._task = task
        self._judging = _Judging(task)
        passed = ForwardPass.of(task, inputs)
        outputs = passed.outputs.detach()  # another tensor: if the loss reads the one that was returned, it kept it
        tensors = [*task.parameters(), *task.buffers()]
        with torch.no_grad(), _Watch(tensors) as point, _Watch(passed.tensors) as left:
            task.judge(outputs, targets)
        self.uses_point = point.has_seen
        self.stored = ", ".join(passed.changed) or ("what its loss reads" if left.has_seen else "")
        self.bytes_per_example = -(-passed.num_bytes // len(targets))  # of all that a forward pass computes
        self.written = passed.written  # buffers that stay in the module between a forward pass and its judgement

    def __call__(self, outputs: Tensor, targets: Tensor, states: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Returns losses and correctness, (n, B) each.

        Args:
            outputs: of n points, (n, B, ...).
            targets: of the examples, (B, ...).
            states: of the points, (m, *shape) by name, m <= n; what is beyond m is not looked at.

        Raises:
            UserError: the task changes outputs or targets.
        """
        num_points = len(next(iter(states.values())))
        if self.uses_point:
            judged = [self._one(outputs[i], targets, state_at(states, i)) for i in range(num_points)]
            each_losses, each_correct = zip(*judged, strict=True)
            return torch.stack(each_losses), None if each_correct[0] is None else torch.stack(each_correct)
        num_models, num_examples = outputs.shape[:2]
        repeated = targets.expand(num_models, *targets.shape).flatten(0, 1)  # a quarter of the time of repeat()
        flat_losses, flat_correct = _unchanged(self._task.judge, outputs.flatten(0, 1), repeated)
        losses = flat_losses.view(num_models, num_examples)[:num_points]
        return losses, None if flat_correct is None else flat_correct.view(num_models, num_examples)[:num_points]

    def losses(self, outputs: Tensor, targets: Tensor, state: State) -> Tensor:
        """Returns the losses (B,) of the outputs (B, ...) of one point, differentiable in its state."""
        if self.uses_point:
            return self._one(outputs, targets, state)[0]
        return self._task.loss_of_each(outputs, targets)

    def _one(self, outputs: Tensor, targets: Tensor, state: State) -> tuple[Tensor, Tensor | None]:
        tensors = {f"task.{name}": tensor for name, tensor in state.items() if name not in self.written}
        judged: tuple[Tensor, Tensor | None] = _unchanged(
            lambda *given: functional_call(self._judging, tensors, given), outputs, targets
        )
        return judged


class _Judging(nn.Module):
    """`judge` as a forward, so that `functional_call` gives it a point's tensors."""

    def __init__(self, task: JudgedModel) -> None:
        super().__init__()
        self.task = task

    def forward(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.task.judge(outputs, targets)


class _Watch(TorchFunctionMode):
    """Sees whether one of some tensors is given to torch while it is entered."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self._watched = set(map(id, tensors))
        self.has_seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.has_seen |= any(id(item) in self._watched for item in items([args, kwargs]))
        return func(*args, **(kwargs or {}))


def _unchanged(judge: Callable[[Tensor, Tensor], Judged], outputs: Tensor, targets: Tensor) -> Judged:
    before = version_of(outputs), version_of(targets)
    judged = judge(outputs, targets)
    if (version_of(outputs), version_of(targets)) != before:
        raise UserError(
            "expected per_example_loss and is_correct to leave outputs and targets as they are, found one of them changed "
            "in place; let them work on a copy, targets.clone()"
        )
    return judged
