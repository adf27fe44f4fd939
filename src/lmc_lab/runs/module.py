"""How Lightning trains a task and measures it on the test set."""

from typing import Any, final

from lightning.pytorch import LightningModule
from lightning.pytorch.core.hooks import ModelHooks
from torch import Tensor, nn
from torchmetrics import MeanMetric

from lmc_lab.errors import UserError
from lmc_lab.inputs import Inputs
from lmc_lab.tasks.supervised import SupervisedTask, only_optimizer

_STEPS = (
    *("training_step", "validation_step", "test_step", "predict_step"),
    *("backward", "configure_gradient_clipping", "lr_scheduler_step", "optimizer_step", "optimizer_zero_grad"),
)
_HOOKS = frozenset([*_STEPS, *(name for name in dir(ModelHooks) if name.startswith("on_"))])


@final
class TrainingModule(LightningModule):
    """A task as Lightning takes it. Its checkpoints hold the state of the task, under the task's own names.

    Raises:
        UserError: the task has methods for Lightning to call, which does not see it.
    """

    def __init__(self, task: SupervisedTask) -> None:
        super().__init__()
        _refuse_hooks(task)
        self.task = task
        self.test_loss = MeanMetric(nan_strategy="disable")  # a NaN among the losses is to be seen
        self.test_accuracy = MeanMetric()
        # Hooks also do it where this module is a part of another, under a prefix, as in an average of weights.
        self.register_state_dict_post_hook(_with_names_of_the_task)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_with_names_of_the_module)  # type: ignore[no-untyped-call]

    def training_step(self, batch: tuple[Inputs, Tensor], batch_idx: int) -> Tensor:
        """Returns the loss of a batch."""
        return self.task.training_loss(batch)

    def validation_step(self, batch: tuple[Inputs, Tensor], batch_idx: int) -> None:
        """Adds a batch of the test set to the mean loss and, where the task has right and wrong, to the accuracy."""
        inputs, targets = batch
        outputs = self.task(inputs)
        losses, correct = self.task.judge(outputs, targets)
        self.test_loss.update(losses)
        self.log("test_loss", self.test_loss)
        # By it Lightning places them, which would count a step less; the mean over batches that it takes else is rounded.
        self.log("step", float(self.global_step), reduce_fx="max")
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


def _refuse_hooks(task: SupervisedTask) -> None:
    """Refuses a task with a `training_step`, an `on_train_batch_end` or the like: they would never be called."""
    if hooks := sorted(name for name in _HOOKS if hasattr(task, name)):
        raise UserError(
            f"expected {type(task).__name__} to say what is trained in training_loss(batch) and what is judged in "
            f"per_example_loss and is_correct, found {hooks[0]}, which nobody calls; move what it does there"
        )


def _with_names_of_the_task(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Takes "task." off the names in a state of the module."""
    _rename(state, f"{prefix}task.", prefix)


def _with_names_of_the_module(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Puts "task." before the names in a state that the module is to load."""
    _rename(state, prefix, f"{prefix}task.")


def _rename(state: dict[str, Any], before: str, after: str) -> None:
    for name in [name for name in state if name.startswith(before)]:
        state[after + name.removeprefix(before)] = state.pop(name)
