from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from lmc_lab.data.examples import Examples
from lmc_lab.data.sound import is_whole
from lmc_lab.errors import UserError
from lmc_lab.inputs import Inputs, each
from lmc_lab.tasks.judged_model import JudgedModel
from lmc_lab.tasks.mean_loss import LossFunction, per_example

IsCorrect = Callable[[Tensor, Tensor], Tensor]  # outputs (B, ...), targets (B, ...) -> bool (B,)

_NUM_TRIED = 64  # examples, chosen at random once and for all, on which the functions are tried


@final
class ModelWithLoss(JudgedModel):
    """A model with a loss function, whose own parameters, if it has some, are constants.

    Args:
        model: one tensor (B, ...) in, or several by name, one tensor (B, ...) out, or what has it as `logits`; in eval mode.
        loss: see `tasks.mean_loss`.
        examples: on some of which the functions are tried.
        is_correct: which examples are right. None: where targets are whole numbers (N,) and outputs (N, classes), those
            whose largest output is the target; else none is right or wrong.

    Raises:
        UserError: the outputs or one of the functions are not as said, or there are labels without an output.
    """

    def __init__(
        self, model: nn.Module, loss: LossFunction, examples: Examples, *, is_correct: IsCorrect | None = None
    ) -> None:
        super().__init__(model)
        device = next(model.parameters()).device
        inputs, targets = (
            each(lambda tensor: tensor.to(device), part) for part in examples.draw(_NUM_TRIED).batch(slice(None))
        )
        outputs = _outputs(self, inputs, len(targets))
        # Functions, not modules, which would be registered: their parameters would be coordinates of a point.
        self._is_correct = _checked(is_correct, outputs, targets) or _largest(outputs, examples.targets)
        self._losses = per_example(loss, outputs, targets)

    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each example alone, (B,)."""
        return self._losses(outputs, targets)

    def is_correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Returns which examples are right, bool (B,), or None."""
        return None if self._is_correct is None else self._is_correct(outputs, targets)


@torch.no_grad()
def _outputs(module: JudgedModel, inputs: Inputs, num_examples: int) -> Tensor:
    outputs = module(each(Tensor.clone, inputs))
    if outputs.shape[:1] != (num_examples,):
        raise UserError(
            f"expected the model to return one tensor with a row for each of {num_examples} examples, found a tensor "
            f"{tuple(outputs.shape)}; wrap it in a module whose forward does"
        )
    return outputs


def _checked(is_correct: IsCorrect | None, outputs: Tensor, targets: Tensor) -> IsCorrect | None:
    """Returns a function that does what `is_correct` does, which returns what it should."""
    if is_correct is None:
        return None
    correct = is_correct(outputs.clone(), targets.clone())
    if not isinstance(correct, Tensor) or correct.dtype != torch.bool or correct.shape != outputs.shape[:1]:
        what = f"{correct.dtype} {tuple(correct.shape)}" if isinstance(correct, Tensor) else type(correct).__name__
        raise UserError(
            f"expected is_correct to return torch.bool ({len(outputs)},), found {what}; compare each example once"
        )
    return lambda *given: is_correct(*given)


def _largest(outputs: Tensor, targets: Tensor) -> IsCorrect | None:
    """Returns whether the largest output is the target, as a function, or None where targets name no outputs."""
    if outputs.dim() != 2 or outputs.shape[1] < 2 or targets.dim() != 1 or not is_whole(targets):
        return None
    if int(targets.max()) >= outputs.shape[1]:
        raise UserError(
            f"expected labels from 0 to {outputs.shape[1] - 1}, one for each of the model's outputs, found "
            f"{int(targets.max())}; change the model or the data, or make targets that are no classes floating-point"
        )
    return lambda outputs, targets: outputs.argmax(dim=1) == targets
