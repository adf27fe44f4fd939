from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from lmc_lab.errors import UserError
from lmc_lab.tasks.supervised import OptimizerFactory, SupervisedTask
from lmc_lab.values import Count


@final
class Classification(SupervisedTask):
    """Cross-entropy; right is the largest output.

    Args:
        model: gives one output a class.
        optimizer: of its parameters.
        num_classes: how many outputs are expected; any number for None.
    """

    def __init__(self, model: nn.Module, optimizer: OptimizerFactory, *, num_classes: Count | None = None) -> None:
        super().__init__(model, optimizer)
        self._num_classes = num_classes

    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the cross-entropy of outputs (B, classes) and targets (B,), (B,).

        Raises:
            UserError: the model has another number of outputs, or there are labels that have none.
        """
        if self._num_classes is not None and outputs.shape[1:] != (self._num_classes,):
            raise UserError(
                f"expected {self._num_classes} outputs an example, one for each class, found {tuple(outputs.shape[1:])}; "
                "change the model or task.module.num_classes"
            )
        try:
            return F.cross_entropy(outputs, targets, reduction="none")
        except IndexError as error:  # torch looks at each label, on a CPU
            raise UserError(
                f"expected labels from 0 to {outputs.shape[1] - 1}, one for each of the model's outputs, found "
                f"{int(targets.max())}; change the model or the data"
            ) from error

    def is_correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns where the largest output is the target, bool (B,)."""
        return outputs.argmax(dim=1) == targets
