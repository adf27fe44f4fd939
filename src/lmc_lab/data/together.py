"""The batches of several runs of one task at once, on the device where they are trained."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from operator import itemgetter

import torch
from torch import Tensor

from lmc_lab.data.examples import Augment, Examples
from lmc_lab.data.order import DataOrder
from lmc_lab.inputs import Inputs, each, joined


class BatchesTogether:
    """The endless batches of n orders from step `start` on: inputs and targets (n, B, ...), each as `StepBatches` has it.

    Images are NCHW in memory: n convolutions side by side are one of n times as many channels, in groups, which is fastest so.
    The examples lie on the device as they are stored, and the indices of an epoch go there at once; those of the next are made
    meanwhile in a thread.

    Args:
        examples: that all runs see.
        orders: of the runs, of equally many examples in equally large batches.
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
        start: int = 0,
        augment: Augment | None = None,
        transform: Augment | None = None,
        device: torch.device,
    ) -> None:
        self._examples = examples.on(device)
        self._orders = orders
        self._start = start
        self._augment = augment
        self._transform = transform
        self._is_random = augment is not None or transform is not None
        self._device = device

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        size, steps = self._orders[0].batch_size, self._orders[0].steps_per_epoch
        with ThreadPoolExecutor(1) as thread:
            first = self._start // steps
            following = thread.submit(self._indices, first)
            for epoch in count(first):
                indices = following.result().to(self._device)
                following = thread.submit(self._indices, epoch + 1)
                for step in range(max(self._start, epoch * steps), (epoch + 1) * steps):
                    position = step - epoch * steps
                    yield self._batch(indices[:, position * size : (position + 1) * size], step)

    def _indices(self, epoch: int) -> Tensor:
        """Returns the examples of all steps of an epoch, int64 (n, N)."""
        return torch.stack([order.permutation(epoch) for order in self._orders])

    def _batch(self, index: Tensor, step: int) -> tuple[Inputs, Tensor]:
        shape = index.shape
        inputs, targets = self._examples.stored(index.flatten())
        generators = [order.augmentation(step) for order in self._orders] if self._is_random else []
        if self._transform is not None:
            inputs = torch.cat(list(map(self._transform, torch.split(inputs, shape[1]), generators)))
        inputs = each(lambda tensor: self._by_run(tensor, shape), self._examples.prepare(inputs))
        if self._augment is not None:
            of_runs = [each(itemgetter(run), inputs) for run in range(len(generators))]
            inputs = joined(torch.stack, list(map(self._augment, of_runs, generators)))
        return inputs, self._by_run(targets, shape)

    def _by_run(self, tensor: Tensor, shape: torch.Size) -> Tensor:
        return tensor.to(self._device).contiguous().view(*shape, *tensor.shape[1:])
