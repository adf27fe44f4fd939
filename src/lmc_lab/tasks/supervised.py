from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class SupervisedTask(LightningModule, ABC):
    """How a model is trained and judged: what a task of one's own derives from.

    Besides the loss per example, which everything here is made of, a subclass says which examples count as right, if
    its task has right and wrong.
    """

    def __init__(self, model: nn.Module, optimizer: OptimizerFactory) -> None:
        super().__init__()
        self.model = model
        self._optimizer = optimizer

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; `_current_fx_name`, which Lightning sets 44 times a step, without torch's look for modules."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @abstractmethod
    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each of the B examples, (B,).

        It may be called from several threads at a time, so it must not change the module; nor must `is_correct`.
        """

    @abstractmethod
    def is_correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """Returns which of the B examples are right, bool (B,), or None if the task has no right and wrong."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns the model's outputs."""
        return self.model(inputs)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Returns the mean loss of a batch."""
        inputs, targets = batch
        return self.per_example_loss(self(inputs), targets).mean()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Logs the loss, and the accuracy if there is one, on a batch of the test set."""
        inputs, targets = batch
        outputs = self(inputs)
        self.log("test_loss", self.per_example_loss(outputs, targets).mean(), batch_size=len(targets))
        correct = self.is_correct(outputs, targets)
        if correct is not None:
            self.log("test_accuracy", correct.float().mean(), batch_size=len(targets))

    def configure_optimizers(self) -> Optimizer:
        """Returns the task's optimizer."""
        return self._optimizer(self.parameters())
