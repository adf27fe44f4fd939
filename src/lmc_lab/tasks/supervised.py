import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from lmc_lab.errors import UserError

_LIGHTNING_HOOK = re.compile(r"(training|validation|test|predict)_step|on_(fit|train|validation|test|before|after)_\w+")

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class SupervisedTask(nn.Module, ABC):
    """How a model is trained and judged: what a task of one's own derives from.

    Besides the loss per example, which everything here is made of, a subclass says which examples count as right, if
    its task has right and wrong. It is torch alone: `runs.module` makes Lightning train it, and an analysis, which only
    judges, need not import Lightning, which takes longer than torch.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Refuses what only Lightning would call, which would never be called.

        Raises:
            UserError: there is a `training_step`, a `validation_step`, an `on_train_batch_end` or the like.
        """
        super().__init_subclass__(**arguments)
        if hooks := [name for name in dir(cls) if _LIGHTNING_HOOK.fullmatch(name)]:
            raise UserError(
                f"expected {cls.__name__} to say what is trained in training_loss(batch) and what is judged in "
                f"per_example_loss and is_correct, found {hooks[0]}, which nobody calls; move what it does there"
            )

    def __init__(self, model: nn.Module, optimizer: OptimizerFactory) -> None:
        super().__init__()
        self.model = model
        self._optimizer = optimizer

    @abstractmethod
    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each of the B examples, (B,).

        It may be called from several threads at a time, on views of the data, so it must change neither the module nor
        its arguments; nor must `is_correct`.
        """

    @abstractmethod
    def is_correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Returns which of the B examples are right, bool (B,), or None if the task has no right and wrong."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns the model's outputs."""
        return self.model(inputs)

    def training_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns what a training step lowers: the mean loss of a batch."""
        inputs, targets = batch
        return self.per_example_loss(self(inputs), targets).mean()

    def configure_optimizers(self) -> Optimizer:
        """Returns the task's optimizer."""
        return self._optimizer(self.parameters())
