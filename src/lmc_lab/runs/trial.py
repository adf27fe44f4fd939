"""One training step of n models together, tried to see whether it works, and how much memory it takes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lmc_lab.inputs import Inputs, by_name, joined
from lmc_lab.runs.copies_module import CopiesModule
from lmc_lab.runs.run import Run
from lmc_lab.tasks.precision import Precision, precision_of
from lmc_lab.tasks.supervised import only_optimizer

Batch = tuple[Inputs, Tensor]


class TriedModels:
    """n models in the precision, and on the device, in which a run is trained.

    Args:
        run: one of those that are to be trained together.
        batches: one for each model.
        device: where.
    """

    def __init__(self, run: Run, batches: Sequence[Batch], device: torch.device) -> None:
        self._device, self._precision = device, precision_of(run.task.precision)
        task = self._precision.convert_module(run.task.initialise(0))
        self._module = CopiesModule(task, len(batches), randomness="different").to(device)
        self._optimizer = only_optimizer(self._module.configure_optimizers())
        self._batch = stacked_on(device, [converted(batch, self._precision) for batch in batches])

    def compute_gradients(self) -> None:
        """Computes the gradients of a step."""
        with self._precision.forward(self._device.type):
            self._module.training_step(self._batch, 0)

    def step(self) -> None:
        """Lets the optimizer step."""
        with self._precision.forward(self._device.type):
            self._optimizer.step()

    @property
    def num_parameter_bytes(self) -> int:
        """The size of all parameters."""
        return sum(leaf.nbytes for leaf in self._module.leaves)

    @property
    def num_batch_bytes(self) -> int:
        """The size of all batches."""
        inputs, targets = self._batch
        return sum(tensor.nbytes for tensor in (*by_name(inputs).values(), targets))


def converted(batch: Batch, precision: Precision) -> Batch:
    """Returns a batch as a step in this precision takes it."""
    inputs, targets = (precision.convert(part) for part in batch)
    return inputs, targets


def stacked_on(device: torch.device, batches: Sequence[Batch]) -> Batch:
    """Returns the batches of n models as one, (n, B, ...)."""
    inputs, targets = zip(*batches, strict=True)
    return joined(lambda parts: torch.stack(parts).to(device), inputs), torch.stack(targets).to(device)
