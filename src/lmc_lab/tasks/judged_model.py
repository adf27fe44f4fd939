from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from lmc_lab.errors import UserError
from lmc_lab.inputs import Inputs


class JudgedModel(nn.Module, ABC):
    """A model, with the loss of each example and whether it is right, as functions of the model's outputs.

    This is all that a `PointEvaluator` needs; how the model is trained is a matter of `supervised.SupervisedTask`.

    Args:
        model: its parameters, and those of a subclass, are the coordinates of a point. It takes one tensor, or the several of a
            dict by name, and returns one, or a dict or an object that has it as `logits`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each of the B examples, (B,).

        It may be called from several threads at a time, so it must change neither the module nor its arguments; nor must
        `is_correct`. Parameters and buffers that it uses are those of the point that is judged.
        """

    @abstractmethod
    def is_correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Returns which of the B examples are right, bool (B,), or None if the task has no right and wrong."""

    @final
    def judge(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the loss of each example, (B,), and which are right, bool (B,) or None.

        Where the loss is NaN nothing is right: the largest of outputs that are all NaN is the first.

        Raises:
            UserError: the task's functions return something else.
        """
        correct = self.is_correct(outputs, targets)
        losses = self.loss_of_each(outputs, targets)
        if correct is None:
            return losses, None
        if not isinstance(correct, Tensor) or correct.dtype != torch.bool or correct.shape != losses.shape:
            raise UserError(
                f"expected is_correct to return torch.bool ({len(losses)},) for {len(losses)} examples, found "
                f"{_kind(correct)}; compare each example once, without a mean"
            )
        return losses, correct.logical_and(losses.isnan().logical_not())

    @final
    def loss_of_each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns `per_example_loss`, (B,).

        Raises:
            UserError: it is something else.
        """
        losses = self.per_example_loss(outputs, targets)
        if not isinstance(losses, Tensor) or losses.shape != targets.shape[:1]:
            raise UserError(
                f"expected per_example_loss to return ({len(targets)},) for {len(targets)} examples, found {_kind(losses)}; "
                'give the loss reduction="none", and take its mean over the values of an example alone'
            )
        return losses

    def forward(self, inputs: Inputs) -> Tensor:
        """Returns the model's outputs.

        Raises:
            UserError: it returns something else than a tensor, and no logits in it.
        """
        return _outputs_in(self.model(**inputs) if isinstance(inputs, Mapping) else self.model(inputs))


def _kind(returned: Any) -> str:
    """Returns what a function returned, in a few words."""
    return f"{returned.dtype} {tuple(returned.shape)}" if isinstance(returned, Tensor) else type(returned).__name__


def _outputs_in(returned: Any) -> Any:
    if isinstance(returned, Tensor | fx.Proxy):  # the latter while the model is traced
        return returned
    logits = returned.get("logits") if isinstance(returned, Mapping) else getattr(returned, "logits", None)
    if logits is None:
        found = (
            f"a dict of {', '.join(map(str, returned))}" if isinstance(returned, Mapping) else type(returned).__name__
        )
        raise UserError(
            f"expected the model to return one tensor (or a dict or an object with logits), found {found}; wrap it in a module "
            "that does"
        )
    return logits
