import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lmc_lab.data.sound import check_examples
from lmc_lab.errors import UserError, one_line
from lmc_lab.inputs import Inputs, device_of, each

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examples:
    """Examples in memory as they are stored; `prepare` turns a batch of them into what the model takes."""

    inputs: Inputs  # (N, ...) e.g. uint8 images, or a dict of such for a model of several inputs
    targets: Tensor  # (N,) classes or (N, outputs) values
    prepare: Callable[[Inputs], Inputs]  # (B, ...) stored -> (B, ...) float

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, index: Tensor | slice) -> tuple[Inputs, Tensor]:
        """Returns the model inputs and targets of the examples at `index`, whole numbers (B,) or a slice.

        Both are in memory of their own: `prepare`, a model or a loss that works in place does not change the data.
        """
        inputs, targets = self.stored(index)
        return self.prepare(inputs), targets

    def stored(self, index: Tensor | slice) -> tuple[Inputs, Tensor]:
        """Returns what `batch` does, inputs as they are stored."""
        return each(lambda tensor: _rows(tensor, index), self.inputs), _rows(self.targets, index)

    def on(self, device: torch.device) -> "Examples":
        """Returns the examples on the device, as they are stored, if they fit there and `prepare` works there.

        Else, where `prepare` has tensors of its own, say, they and their batches stay where they are, which is said once.
        """
        if device_of(self.inputs) == self.targets.device == device:
            return self
        try:
            there = Examples(each(lambda tensor: tensor.to(device), self.inputs), self.targets.to(device), self.prepare)
            there.batch(slice(0, 1))
        except (RuntimeError, TypeError) as error:  # memory that runs out is a RuntimeError, too
            _say_once(f"examples stay on the CPU, since {one_line(error)[:200]}")
            return self
        return there

    def chunks(self, size: int) -> "Chunks":
        """Returns all examples in their order, `size` at a time."""
        return Chunks(self, size)

    def first(self, count: int) -> "Examples":
        """Returns the first `count` examples."""
        return self._cut(slice(count))

    def draw(self, count: int) -> "Examples":
        """Returns `count` examples, chosen at random once and for all, in their order.

        What stands first may be special: the first 46 ms of the Bach clip are silent.
        """
        return self.at(self.drawn(count))

    def drawn(self, count: int, *, seed: int = 0) -> Tensor:
        """Returns the indices of `count` examples, drawn at random by the seed, int64 (count,), sorted; 0 is that of `draw`."""
        return self._shuffled(seed)[:count].sort().values

    def undrawn(self, count: int) -> "Examples":
        """Returns the examples that `draw(count)` leaves, in their order."""
        return self.at(self._shuffled()[count:].sort().values)

    def _shuffled(self, seed: int = 0) -> Tensor:
        return torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))

    def at(self, index: Tensor) -> "Examples":
        """Returns the examples at `index`, int64 (n,)."""
        return self._cut(index)

    def _cut(self, index: Tensor | slice) -> "Examples":
        return Examples(each(lambda tensor: tensor[index], self.inputs), self.targets[index], self.prepare)


@dataclass(frozen=True)
class Chunks:
    """Examples in their order, `size` at a time, as often as they are asked for."""

    examples: Examples
    size: int

    def __len__(self) -> int:
        return -(-len(self.examples) // self.size)

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        for start in range(0, len(self.examples), self.size):
            yield self.examples.batch(slice(start, start + self.size))


@cache
def _say_once(message: str) -> None:
    log.info(message)


def _rows(tensor: Tensor, index: Tensor | slice) -> Tensor:
    """Returns a copy of the rows at `index`; `tensor[index]` would copy element by element (128 images: 0.55 ms, not 0.05)."""
    if isinstance(index, slice):
        return tensor[index].clone()
    return tensor.index_select(0, index.to(tensor.device))


Augment = Callable[[Inputs, torch.Generator], Inputs]  # inputs (B, ...), and all their randomness -> the same shape


@runtime_checkable
class AugmentsRuns(Protocol):
    """An `Augment` that changes the batches of n runs at once, each by its own generator, to the bits that each alone gets."""

    def of_runs(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Inputs:
        """Returns inputs of the shape that they have, (n, B, ...)."""


@dataclass(frozen=True)
class Dataset:
    """What a task trains and is measured on; `digest` names the decoded data whatever file they came from.

    `augment` changes training batches only: every loss that is measured is that of the examples as they are.

    Raises:
        UserError: a subset is nothing that can be learned from (`data.sound.check_examples`).
    """

    train: Examples
    test: Examples | None
    digest: str
    augment: Augment | None = None

    def __post_init__(self) -> None:
        for subset, examples in self.subsets.items():
            check_examples(examples.inputs, examples.targets, subset)

    @property
    def subsets(self) -> dict[str, Examples]:
        """Returns the subsets that exist by name: train, and test where the task has one."""
        return {"train": self.train} | ({"test": self.test} if self.test is not None else {})


def take(examples: Examples, count: int | None, what: str) -> Examples:
    """Returns the first `count` examples (all for None).

    Raises:
        UserError: `count` is not between 1 and the number of examples.
    """
    if count is None:
        return examples
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= len(examples):
        raise UserError(
            f"expected {what} between 1 and {len(examples)}, found {count}; change it or set it to null for all"
        )
    return examples.first(count)
