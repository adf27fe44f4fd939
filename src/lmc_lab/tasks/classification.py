from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from lmc_lab.errors import UserError
from lmc_lab.inputs import Inputs
from lmc_lab.tasks.supervised import OptimizerFactory, SupervisedTask
from lmc_lab.values import Count, Share


@final
class Classification(SupervisedTask):
    """Cross-entropy; right is the largest output.

    Targets are classes (B,), or (B, T) where an example is a sequence with a class at each position, the next token, say;
    outputs have a last dimension more, that of the classes.

    Args:
        model: gives one output a class.
        optimizer: of its parameters.
        num_classes: how many outputs are expected; any number for None.
        label_smoothing: the share of a target that is spread over all classes in training (Szegedy et al. 2016, section 7). A
            point is judged without it: its loss is that of the labels.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerFactory,
        *,
        num_classes: Count | None = None,
        label_smoothing: Share = 0.0,
    ) -> None:
        super().__init__(model, optimizer)
        self._num_classes = num_classes
        self._label_smoothing = label_smoothing

    def training_loss(self, batch: tuple[Inputs, Tensor]) -> Tensor:
        """Returns the mean cross-entropy of a batch with smoothed labels."""
        inputs, targets = batch
        return self._losses(self(inputs), targets, self._label_smoothing).mean()

    def per_example_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the cross-entropy of each example, (B,); of a sequence, its mean over positions.

        Raises:
            UserError: the model has another number of outputs, or there are labels that have none.
        """
        return self._losses(outputs, targets, 0.0)

    def _losses(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        self._check_outputs(outputs, targets)
        try:
            losses = F.cross_entropy(
                outputs.flatten(0, -2), targets.flatten(), reduction="none", label_smoothing=label_smoothing
            )
        except IndexError as error:  # torch looks at each label, on a CPU
            raise UserError(
                f"expected labels from 0 to {outputs.shape[-1] - 1}, one for each of the model's outputs, found "
                f"{int(targets.max())}; change the model or the data"
            ) from error
        return losses if targets.dim() == 1 else losses.view(targets.shape).mean(dim=1)

    def _check_outputs(self, outputs: Tensor, targets: Tensor) -> None:
        expected = (*targets.shape[1:], outputs.shape[-1] if self._num_classes is None else self._num_classes)
        if outputs.shape[1:] != expected:
            each = "one for each class" + (" at each place of the sequence" if targets.dim() > 1 else "")
            hint = ", or store one-hot targets as numbers of classes" if outputs.shape == targets.shape else ""
            raise UserError(
                f"expected {' x '.join(map(str, expected))} outputs an example, {each}, found {tuple(outputs.shape[1:])}; "
                f"change the model or task.module.num_classes{hint}"
            )

    def is_correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns where the largest output is the target, bool (B,): of a sequence, at its last position.

        That position alone has the whole sequence before it, and whether an example is right is a matter of yes and no.
        """
        if targets.dim() > 1:
            outputs, targets = outputs[:, -1], targets[:, -1]
        return outputs.argmax(dim=1) == targets
