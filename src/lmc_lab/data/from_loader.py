"""Examples from tensors, or from a DataLoader, which is read once."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

import torch
from torch import Tensor

from lmc_lab.data.examples import Examples
from lmc_lab.data.sound import check_examples
from lmc_lab.data.source import as_they_are
from lmc_lab.errors import UserError
from lmc_lab.generators import forked_generators
from lmc_lab.inputs import Inputs, by_name, each, joined

Batch = tuple[Inputs, Tensor]  # inputs (B, ...), or a dict of such, and targets (B, ...)
Data = Batch | Iterable[Batch]  # all inputs (N, ...) and targets (N, ...), or their batches


def examples_of(data: Data, name: str) -> Examples:
    """Returns examples in memory, on the CPU.

    Batches are read twice, and the second pass must find what the first one did, in the same order: a strict ``<`` between
    losses decides, so that all points must see the same examples. Neither pass changes torch's random numbers.

    Args:
        data: the tensors (inputs, targets), of several inputs a dict, or a DataLoader (anything that can be iterated over) of
            such batches.
        name: of the argument, for the sentences.

    Raises:
        UserError: it is neither, the passes differ, or nothing could be learned from the examples
            (`data.sound.check_examples`).
    """
    if _is_pair(data):
        inputs, targets = data
    else:
        with forked_generators():
            inputs, targets = _read(data, name)
            start = _first_difference(_batches(data, name), inputs, targets)
        if start is not None:
            raise UserError(
                f"expected two passes over {name} to give the same examples in the same order, found that they differ from "
                f"example {start} on; set shuffle=False, and leave augmentation out"
            )
    check_examples(inputs, targets, name)
    return Examples(each(lambda tensor: tensor.detach().cpu(), inputs), targets.detach().cpu(), as_they_are)


def _is_pair(data: Any) -> TypeGuard[Batch]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        return False
    return all(isinstance(part, Tensor) for part in _tensors(data))


def _tensors(batch: Any) -> list[Tensor]:
    """Returns inputs and targets."""
    return [*by_name(batch[0]).values(), batch[1]]


def _read(data: Any, name: str) -> Batch:
    batches = list(_batches(data, name))
    if not batches:
        raise UserError(f"expected batches in {name}, found none; an iterator gives them only once: give its source")
    for parts in zip(*map(_tensors, batches), strict=True):
        shapes = sorted({tuple(part.shape[1:]) for part in parts})
        if len(shapes) > 1:
            raise UserError(
                f"expected examples of one shape in {name}, found {shapes[0]} and {shapes[1]}; pad or cut them to one length"
            )
    inputs, targets = zip(*batches, strict=True)
    return joined(torch.cat, inputs), torch.cat(targets)


def _first_difference(batches: Iterable[Batch], inputs: Inputs, targets: Tensor) -> int | None:
    """Returns the first example of the first batch that is not that of these, or None if all are the same and as many."""
    start = 0
    for batch in batches:
        cut = slice(start, start + len(batch[1]))
        known = _tensors((inputs, targets))
        if not all(torch.equal(part, whole[cut]) for part, whole in zip(_tensors(batch), known, strict=True)):
            return start
        start = cut.stop
    return None if start == len(targets) else start


def _batches(data: Any, name: str) -> Iterator[Batch]:
    if isinstance(data, torch.utils.data.Dataset):
        raise UserError(
            f"expected {name} to be two tensors or a DataLoader, found {type(data).__name__}; "
            "wrap it: DataLoader(dataset, batch_size=256)"
        )
    if not isinstance(data, Iterable):
        raise UserError(
            f"expected {name} to be two tensors or a DataLoader, found {type(data).__name__}; give one of them"
        )
    if isinstance(data, tuple | list) and any(
        hasattr(part, "__array__") and not isinstance(part, Tensor) for part in data
    ):
        raise UserError(f"expected {name} to be two tensors, found arrays; give torch.as_tensor(…) of each")
    for batch in data:
        if not _is_pair(batch) or not _have_as_many_rows(_tensors(batch)):
            raise UserError(
                f"expected batches (inputs, targets) of {name}, two tensors with as many rows, found {_in_words(batch)}; "
                "let the DataLoader's collate_fn return these two"
            )
        yield batch[0], batch[1]


def _have_as_many_rows(tensors: list[Tensor]) -> bool:
    return all(tensor.dim() > 0 and len(tensor) == len(tensors[-1]) for tensor in reversed(tensors))


def _in_words(batch: Any) -> str:
    if isinstance(batch, tuple | list):
        return f"({', '.join(map(_in_words, batch))})"
    return f"a tensor {tuple(batch.shape)}" if isinstance(batch, Tensor) else type(batch).__name__
