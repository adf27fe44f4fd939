"""How a task's optimizer is made: its parameter groups and its schedule."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lmc_lab.errors import UserError


@dataclass(frozen=True)
class Optimization:
    """An optimizer of some parameters, with its schedule, as `SupervisedTask.configure_optimizers` returns it.

    Args:
        build: makes the optimizer of parameters, or of groups of them.
        build_scheduler: makes its schedule, which is stepped each step; None for a constant learning rate.
        decays_norms_and_biases: whether weight decay acts on parameters of fewer than two dimensions, too.
    """

    build: Callable[[Any], Optimizer]
    build_scheduler: Callable[[Optimizer], LRScheduler] | None = None
    decays_norms_and_biases: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether it is the optimizer alone, with one group."""
        return self.build_scheduler is None and self.decays_norms_and_biases

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Any:
        """Returns the optimizer, or a dict of it and its schedule, as Lightning takes it.

        Raises:
            UserError: norms and biases are to be without weight decay, and the optimizer has none.
        """
        optimizer = self.build(parameters if self.decays_norms_and_biases else _groups(parameters))
        if not self.decays_norms_and_biases and "weight_decay" not in optimizer.defaults:
            raise UserError(
                f"expected an optimizer with weight_decay where task.decay_norms_and_biases=false, found "
                f"{type(optimizer).__name__}; leave that key at true"
            )
        if self.build_scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.build_scheduler(optimizer), "interval": "step"},
        }


def _groups(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Returns matrices and kernels as one group, and biases, scales and shifts, without weight decay, as the other."""
    every = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in every if parameter.dim() > 1]},
        {"params": [parameter for parameter in every if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
