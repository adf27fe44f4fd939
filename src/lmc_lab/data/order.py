"""Which examples are in batch t: a pure function of the order's seeds and t, and the one source of SGD noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from itertools import count

import numpy as np
import torch
from torch import Tensor

from lmc_lab.data.examples import Augment, Examples
from lmc_lab.inputs import Inputs


class Role(IntEnum):
    """Who draws the order: no seed of a branch can collide with a trunk's order."""

    TRUNK = 0
    BRANCH = 1
    CANDIDATE = 3  # of a pair of updates; 2 is the initialisation's (`tasks.task`)
    PERTURBATION = 4  # of the weights that a branch starts from


@dataclass(frozen=True)
class DataOrder:
    """The batches of one run, addressed by step (z_0 ... z_P of Algorithm 1).

    Epoch e is the permutation of ``SeedSequence([role, trunk_seed, seed, e])``. ``seed + epoch`` would make the orders of
    neighbouring seeds shifted copies of each other. The permutation is a stable argsort of PCG64's raw output, since
    numpy's own shuffles may change between versions. An incomplete last batch is dropped.
    """

    role: Role
    trunk_seed: int
    seed: int
    num_examples: int
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        """Returns the number of whole batches in an epoch."""
        return self.num_examples // self.batch_size

    def indices(self, step: int) -> Tensor:
        """Returns the examples of batch `step`, int64 (batch_size,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return _permutation(self, epoch)[position * self.batch_size : (position + 1) * self.batch_size]

    def permutation(self, epoch: int) -> Tensor:
        """Returns the examples of an epoch in their order, int64 (num_examples,)."""
        entropy = [self.role, self.trunk_seed, self.seed, epoch]
        raw = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(self.num_examples)
        return torch.from_numpy(np.argsort(raw, kind="stable"))

    def noise_seed(self, step: int) -> int:
        """Returns the seed of everything else that is random in the model at `step` (dropout)."""
        return _mixed(self._noise_base + step)

    @cached_property  # with the order itself, since a program has hundreds of them
    def _noise_base(self) -> int:
        sequence = np.random.SeedSequence([self.role, self.trunk_seed, self.seed], spawn_key=(1,))
        return int(sequence.generate_state(1, np.uint64)[0])

    def augmentation_seed(self, step: int) -> int:
        """Returns the seed of the augmentation of batch `step`."""
        return _mixed(self.noise_seed(step))

    def augmentation(self, step: int) -> torch.Generator:
        """Returns the source of all that is random in the augmentation of batch `step`."""
        return torch.Generator().manual_seed(self.augmentation_seed(step))


def trunk_order(trunk_seed: int, num_examples: int, batch_size: int) -> DataOrder:
    """Returns z_0, the order of the trunk."""
    return DataOrder(Role.TRUNK, trunk_seed, 0, num_examples, batch_size)


def branch_order(trunk_seed: int, seed: int, num_examples: int, batch_size: int) -> DataOrder:
    """Returns the order of the branch with this data-order seed."""
    return DataOrder(Role.BRANCH, trunk_seed, seed, num_examples, batch_size)


@dataclass(frozen=True)
class StepBatches:
    """The endless batches of an order from step `start` on: whoever trains stops at a step, never at an epoch.

    What is random in a batch has one generator: `transform` changes inputs as they are stored, then `augment` those that the
    model takes.
    """

    examples: Examples
    order: DataOrder
    start: int = 0
    augment: Augment | None = None
    transform: Augment | None = None

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        return map(self.at, count(self.start))

    def at(self, step: int) -> tuple[Inputs, Tensor]:
        """Returns the inputs and targets of batch `step`, a pure function of order and step."""
        inputs, targets = self.examples.stored(self.order.indices(step))
        if self.transform is None and self.augment is None:
            return self.examples.prepare(inputs), targets
        generator = self.order.augmentation(step)
        if self.transform is not None:
            inputs = self.transform(inputs, generator)
        inputs = self.examples.prepare(inputs)
        if self.augment is not None:
            inputs = self.augment(inputs, generator)
        return inputs, targets


def _mixed(number: int) -> int:
    """Returns 63 bits that look unrelated for neighbouring numbers: the finaliser of splitmix64 (Steele et al. 2014).

    A SeedSequence for every step would cost 0.1 ms.
    """
    mask = 2**64 - 1
    number = (number * 0x9E3779B97F4A7C15) & mask
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & mask
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & mask
    return (number ^ (number >> 31)) >> 1


@lru_cache(maxsize=2)
def _permutation(order: DataOrder, epoch: int) -> Tensor:
    return order.permutation(epoch)
