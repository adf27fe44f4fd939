"""The batches of several runs of one task at once, on the device where they are trained."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from operator import itemgetter

import torch
from torch import Generator, Tensor

from lmc_lab.data.examples import Augment, AugmentsRuns, Examples
from lmc_lab.data.order import DataOrder
from lmc_lab.data.transfer import sent
from lmc_lab.inputs import Inputs, device_of, each, joined


class BatchesTogether:
    """The endless batches of n orders from step `start` on: inputs and targets (n, B, ...), each as `StepBatches` has it.

    Images are NCHW in memory: n convolutions side by side are one of n times as many channels, in groups, which is fastest so.
    The examples lie on the device as they are stored, and the indices of an epoch go there at once; those of the next are made
    meanwhile in a thread. A transform works on the CPU, where the examples then stay.

    Args:
        examples: that all runs see.
        orders: of the runs, of equally many examples in equally large batches.
        targets: of all examples, (N, ...) for each run, where runs have others; None for those of the examples.
        start: the first step.
        augment: changes a batch of one run, as the model takes it.
        transform: changes a batch of one run before that, as it is stored.
        device: where batches are to be.
    """

    def __init__(
        self,
        examples: Examples,
        orders: Sequence[DataOrder],
        *,
        targets: Sequence[Tensor] | None = None,
        start: int = 0,
        augment: Augment | None = None,
        transform: Augment | None = None,
        device: torch.device,
    ) -> None:
        self._examples = examples if transform is not None else examples.on(device)
        self._prepared_on = device_of(examples.first(1).on(device).inputs)  # the CPU where `prepare` works there alone
        self._orders = orders
        inputs_device = device_of(self._examples.inputs)
        self._targets = None if targets is None else torch.stack(list(targets)).to(inputs_device)  # (n, N, ...)
        self._start = start
        self._augment = augment
        self._transform = transform
        self._device = device

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        size, steps = self._orders[0].batch_size, self._orders[0].steps_per_epoch
        with ThreadPoolExecutor(1) as thread:
            first = self._start // steps
            following = thread.submit(self._indices, first)
            for epoch in count(first):
                indices = sent(following.result(), device_of(self._examples.inputs))
                following = thread.submit(self._indices, epoch + 1)
                for step in range(max(self._start, epoch * steps), (epoch + 1) * steps):
                    position = step - epoch * steps
                    yield self._batch(indices[:, position * size : (position + 1) * size], step)

    def _indices(self, epoch: int) -> Tensor:
        """Returns the examples of all steps of an epoch, int64 (n, N)."""
        return torch.stack([order.permutation(epoch) for order in self._orders])

    def _batch(self, index: Tensor, step: int) -> tuple[Inputs, Tensor]:
        inputs, targets = self._examples.stored(index.flatten())
        if self._targets is not None:
            runs = torch.arange(len(index), device=index.device)[:, None]
            targets = self._targets[runs, index].flatten(0, 1)
        is_random = self._augment is not None or self._transform is not None
        generators = [order.augmentation(step) for order in self._orders] if is_random else []
        if self._transform is not None:
            parts = [each(itemgetter(run), self._by_run(inputs)) for run in range(len(generators))]
            inputs = joined(torch.cat, list(map(self._transform, parts, generators)))
        inputs = self._examples.prepare(self._sent(inputs, self._prepared_on))
        inputs = self._by_run(self._sent(inputs, self._device))
        if self._augment is not None:
            inputs = _augmented(self._augment, inputs, generators)
        return inputs, self._by_run(self._sent(targets, self._device))

    def _sent(self, inputs: Inputs, device: torch.device) -> Inputs:
        return each(lambda tensor: sent(tensor, device), inputs)

    def _by_run(self, inputs: Inputs) -> Inputs:
        """Returns tensors (n * B, ...) as (n, B, ...)."""
        num_runs = len(self._orders)
        return each(lambda tensor: tensor.contiguous().view(num_runs, -1, *tensor.shape[1:]), inputs)


def _augmented(augment: Augment, inputs: Inputs, generators: Sequence[Generator]) -> Inputs:
    """Returns the batches (n, B, ...), each changed by its own generator."""
    if isinstance(augment, AugmentsRuns):
        return augment.of_runs(inputs, generators)
    of_runs = [each(itemgetter(run), inputs) for run in range(len(generators))]
    return each(Tensor.contiguous, joined(torch.stack, list(map(augment, of_runs, generators))))
