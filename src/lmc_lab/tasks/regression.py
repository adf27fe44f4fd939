from typing import final

from torch import Tensor

from lmc_lab.errors import UserError
from lmc_lab.tasks.supervised import SupervisedTask


@final
class Regression(SupervisedTask):
    """Mean squared error over the outputs of an example; nothing is right or wrong."""

    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the squared error of outputs (B, values), mean over an example's values, (B,).

        Raises:
            UserError: targets have another shape.
        """
        if outputs.shape != targets.shape:  # torch would broadcast (B, 1) and (B,) to (B, B)
            raise UserError(
                f"expected outputs of the targets' shape {tuple(targets.shape)}, found {tuple(outputs.shape)}; give the model "
                "as many outputs, or the targets another shape"
            )
        return (outputs - targets).square().flatten(1).mean(dim=1)

    def is_correct(self, outputs: Tensor, targets: Tensor) -> None:
        """Returns None."""
        return None
