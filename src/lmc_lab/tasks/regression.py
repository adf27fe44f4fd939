from typing import final

from torch import Tensor, nn
from torchmetrics import MeanSquaredError

from lmc_lab.tasks.supervised import OptimizerFactory, SupervisedTask


@final
class Regression(SupervisedTask):
    """Mean squared error over the outputs of an example; nothing is right or wrong."""

    def __init__(self, model: nn.Module, optimizer: OptimizerFactory) -> None:
        super().__init__(model, optimizer)
        self.test_loss = MeanSquaredError()

    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the squared error of outputs (B, values), mean over an example's values, (B,)."""
        return (outputs - targets).square().flatten(1).mean(dim=1)

    def is_correct(self, outputs: Tensor, targets: Tensor) -> None:
        """Returns None."""
        return None

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Adds a batch of the test set to the test metrics."""
        inputs, targets = batch
        self.test_loss.update(self(inputs), targets)
        self.log("test_loss", self.test_loss)
