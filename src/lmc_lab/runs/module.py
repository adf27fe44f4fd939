"""How Lightning trains a task and measures it on the test set."""

from collections.abc import Mapping
from typing import Any, final

from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics import MeanMetric

from lmc_lab.tasks.supervised import SupervisedTask, only_optimizer


@final
class TrainingModule(LightningModule):
    """A task as Lightning takes it. Its checkpoints hold the state of the task, under the task's own names."""

    def __init__(self, task: SupervisedTask) -> None:
        super().__init__()
        self.task = task
        self.test_loss = MeanMetric(nan_strategy="disable")  # a NaN among the losses is to be seen
        self.test_accuracy = MeanMetric()

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; `_current_fx_name`, which Lightning sets 44 times a step, without torch's look for modules."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Returns the task's state."""
        return self.task.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Gives the task its state."""
        return self.task.load_state_dict(state_dict, *args, **kwargs)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Returns the loss of a batch."""
        return self.task.training_loss(batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Adds a batch of the test set to the mean loss and, where the task has right and wrong, to the accuracy."""
        inputs, targets = batch
        outputs = self.task(inputs)
        losses, correct = self.task.judge(outputs, targets)
        self.test_loss.update(losses)
        self.log("test_loss", self.test_loss)
        if correct is not None:
            self.test_accuracy.update(correct.float())
            self.log("test_accuracy", self.test_accuracy)

    def configure_optimizers(self) -> Any:
        """Returns the task's optimizer and its schedule.

        Raises:
            UserError: it is not one optimizer, or the schedule would not be followed.
        """
        configured = self.task.configure_optimizers()
        only_optimizer(configured)
        return configured
