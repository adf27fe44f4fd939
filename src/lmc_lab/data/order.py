"""Which examples are in batch t: a pure function of the order's seeds and t, and the one source of SGD noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
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
    LABELS = 5  # that a branch sees otherwise than they are
    RATE = 6  # by which a branch multiplies its trunk's
    EXAMPLES = 7  # that the branches of a split see, where these are chosen at random


class Noise(StrEnum):
    """The kinds of noise by which the branches of a split may differ."""

    ORDER = "order"  # which examples are in batch t
    AUGMENTATION = "augmentation"  # what their augmentation draws
    DROPOUT = "dropout"  # what else is random in a step
    LABELS = "labels"  # some training labels are wrong
    RATE = "rate"  # the learning rate is another


@dataclass(frozen=True)
class DataOrder:
    """The batches of one run, addressed by step (z_0 ... z_P of Algorithm 1).

    Epoch e is the permutation of ``SeedSequence([role, trunk_seed, seed, e])``. ``seed + epoch`` would make the orders of
    neighbouring seeds shifted copies of each other. The permutation is a stable argsort of PCG64's raw output, since
    numpy's own shuffles may change between versions. An incomplete last batch is dropped.

    The seed also names the augmentation and the dropout of each step, unless it names `only` one kind of noise: what is not of
    that kind is then the trunk's.
    """

    role: Role
    trunk_seed: int
    seed: int
    num_examples: int
    batch_size: int
    only: Noise | None = None

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
        entropy = [*self._named_by(Noise.ORDER), epoch]
        raw = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(self.num_examples)
        return torch.from_numpy(np.argsort(raw, kind="stable"))

    def noise_seed(self, step: int) -> int:
        """Returns the seed of everything else that is random in the model at `step` (dropout)."""
        return _mixed(self._noise_base + step)

    def augmentation_seed(self, step: int) -> int:
        """Returns the seed of the augmentation of batch `step`."""
        return _mixed(_mixed(self._augmentation_base + step))

    @cached_property  # with the order itself, since a program has hundreds of them
    def _noise_base(self) -> int:
        return seed_of(*self._named_by(Noise.DROPOUT))

    @cached_property
    def _augmentation_base(self) -> int:
        return seed_of(*self._named_by(Noise.AUGMENTATION))

    def _named_by(self, kind: Noise) -> tuple[Role, int, int]:
        """Returns the seeds that name a kind of noise: the order's own, or the trunk's."""
        has_own_seed = self.only in (None, kind)
        return (self.role, self.trunk_seed, self.seed) if has_own_seed else (Role.TRUNK, self.trunk_seed, 0)

    def augmentation(self, step: int) -> torch.Generator:
        """Returns the source of all that is random in the augmentation of batch `step`."""
        return torch.Generator().manual_seed(self.augmentation_seed(step))


def trunk_order(trunk_seed: int, num_examples: int, batch_size: int) -> DataOrder:
    """Returns z_0, the order of the trunk."""
    return DataOrder(Role.TRUNK, trunk_seed, 0, num_examples, batch_size)


def branch_order(
    trunk_seed: int, seed: int, num_examples: int, batch_size: int, only: Noise | None = None
) -> DataOrder:
    """Returns the order of the branch with this data-order seed, which may name `only` one kind of noise."""
    return DataOrder(Role.BRANCH, trunk_seed, seed, num_examples, batch_size, only)


def seed_of(role: Role, trunk_seed: int, seed: int) -> int:
    """Returns 64 bits for what a role draws besides the examples of a batch."""
    sequence = np.random.SeedSequence([role, trunk_seed, seed], spawn_key=(1,))
    return int(sequence.generate_state(1, np.uint64)[0])


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
