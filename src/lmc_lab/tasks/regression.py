from typing import final

from torch import Tensor

from lmc_lab.tasks.supervised import SupervisedTask


@final
class Regression(SupervisedTask):
    """Mean squared error over the outputs of an example; nothing is right or wrong."""

    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the squared error of outputs (B, values), mean over an example's values, (B,)."""
        return (outputs - targets).square().flatten(1).mean(dim=1)

    def is_correct(self, outputs: Tensor, targets: Tensor) -> None:
        """Returns None."""
        return None
