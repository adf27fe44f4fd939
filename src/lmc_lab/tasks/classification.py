from typing import final

import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from lmc_lab.tasks.supervised import OptimizerFactory, SupervisedTask


@final
class Classification(SupervisedTask):
    """Cross-entropy over `num_classes`; right is the largest output."""

    def __init__(self, model: nn.Module, optimizer: OptimizerFactory, *, num_classes: int = 10) -> None:
        super().__init__(model, optimizer)
        self.test_loss = MeanMetric()
        self.test_accuracy = MulticlassAccuracy(num_classes, average="micro")

    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the cross-entropy of outputs (B, classes) and targets (B,), (B,)."""
        return F.cross_entropy(outputs, targets, reduction="none")

    def is_correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns where the largest output is the target, bool (B,)."""
        return outputs.argmax(dim=1) == targets

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Adds a batch of the test set to the test metrics."""
        inputs, targets = batch
        outputs = self(inputs)
        self.test_loss.update(self.per_example_loss(outputs, targets))
        self.test_accuracy.update(outputs, targets)
        self.log("test_loss", self.test_loss)
        self.log("test_accuracy", self.test_accuracy)
