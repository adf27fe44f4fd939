"""What the modules of tasks with targets share."""

from abc import ABC
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lmc_lab.errors import UserError
from lmc_lab.inputs import Inputs
from lmc_lab.tasks.judged_model import JudgedModel

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class SupervisedTask(JudgedModel, ABC):
    """How a model is trained and judged: what a task of one's own derives from.

    Besides the loss per example, which everything here is made of, a subclass says which examples count as right, if
    its task has right and wrong. It is torch alone: `runs.module` makes Lightning train it, and an analysis, which only
    judges, need not import Lightning, which takes longer than torch.
    """

    def __init__(self, model: nn.Module, optimizer: OptimizerFactory) -> None:
        super().__init__(model)
        self._optimizer = optimizer

    def training_loss(self, batch: tuple[Inputs, Tensor]) -> Tensor:
        """Returns what a training step lowers: the mean loss of a batch.

        Raises:
            UserError: `per_example_loss` returns something else than a loss for each example.
        """
        inputs, targets = batch
        return self.loss_of_each(self(inputs), targets).mean()

    def configure_optimizers(self) -> Any:
        """Returns the task's optimizer, or whatever else Lightning takes that has one: see `only_optimizer`."""
        return self._optimizer(self.parameters())


def only_optimizer(configured: Any) -> Optimizer:
    """Returns the one optimizer in what `configure_optimizers` returned: alone, in a dict, or in one or two lists.

    Raises:
        UserError: there is none, or several, or a scheduler that would not be stepped as it should.
    """
    optimizers, schedulers = _parts(configured)
    if len(optimizers) != 1 or not isinstance(optimizers[0], Optimizer):
        found = " and ".join(type(part).__name__ for part in optimizers) or type(configured).__name__
        raise UserError(
            f"expected configure_optimizers to return one optimizer, found {found}; "
            "give one optimizer several param_groups, with settings of their own"
        )
    for scheduler in schedulers:
        _check_scheduler(scheduler)
    return optimizers[0]


def has_schedule(configured: Any) -> bool:
    """Returns whether what `configure_optimizers` returned has a schedule of the learning rate."""
    return bool(_parts(configured)[1])


def _parts(configured: Any) -> tuple[list[Any], list[Any]]:
    """Returns optimizers and schedulers, the latter with their settings if they have some."""
    if isinstance(configured, Mapping):
        scheduler = configured.get("lr_scheduler")
        return [configured.get("optimizer")], [] if scheduler is None else [scheduler]
    if not isinstance(configured, Sequence):
        return [configured], []
    if len(configured) == 2 and all(isinstance(part, list | tuple) for part in configured):
        return list(configured[0]), list(configured[1])
    parts = [_parts(part) for part in configured]
    return [one for optimizers, _ in parts for one in optimizers], [
        one for _, schedulers in parts for one in schedulers
    ]


def _check_scheduler(scheduler: Any) -> None:
    settings = scheduler if isinstance(scheduler, Mapping) else {"scheduler": scheduler}
    kind = settings.get("scheduler")
    if isinstance(kind, ReduceLROnPlateau) or settings.get("reduce_on_plateau"):
        raise UserError(
            f"expected a schedule that is a function of the step, found {type(kind).__name__}, which waits for a "
            "validation loss; choose another one"
        )
    if settings.get("interval", "epoch") != "step":
        raise UserError(
            f"expected {type(kind).__name__} with interval: step, found {settings.get('interval', 'epoch')}, and here is one "
            "endless epoch; return {'optimizer': ..., 'lr_scheduler': {'scheduler': ..., 'interval': 'step'}} from "
            "configure_optimizers"
        )
