"""Data sets by config alone: examples of any source, decoded once into arrays on disk, split and normalised.

A source gives examples by number, whatever it reads them from, so that each source is a page of code and what follows is one.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lmc_lab.data.cache import DecodedData, NewArrays
from lmc_lab.data.examples import Dataset, Examples, take
from lmc_lab.data.images import NormaliseChannels, NormaliseImages
from lmc_lab.data.moments import ChannelMoments
from lmc_lab.data.summary import examples_in_words, written_with_summary
from lmc_lab.errors import UserError
from lmc_lab.inputs import Inputs

PerChannel = float | Sequence[float]  # one number for all channels, or one for each

_BLOCK = 256  # examples that are decoded at a time
_MOST_CHANNELS = 4  # of a picture


class Source(Protocol):
    """Examples by number; what is wrong with one of them is a `UserError` that names its file."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> tuple[Any, Any]:
        """Returns input and target of an example: arrays, tensors or numbers."""

    def place(self, number: int) -> str:
        """Returns where an example is, for a sentence."""


@dataclass(frozen=True)
class Picked:
    """Some examples of a source."""

    source: Source
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int, /) -> tuple[Any, Any]:
        return self.source[self.numbers[number]]

    def place(self, number: int) -> str:
        """Returns where the example is in the source."""
        return self.source.place(self.numbers[number])


def hold_out(source: Source, share: float | None, seed: int) -> tuple[Source, Source | None]:
    """Returns a training and a test set: all of `source` and none for None, else a random share of it for the test.

    Both keep the source's order, and are the same on every machine: the permutation is a stable argsort of PCG64's raw output.

    Raises:
        UserError: nothing is left for one of them.
    """
    if share is None:
        return source, None
    num_test = round(share * len(source))
    if not 0 < num_test < len(source):
        raise UserError(
            f"expected task.data.test_share to leave examples for training and for the test, found {share} of {len(source)}; "
            "change it"
        )
    order = np.argsort(np.random.PCG64(seed).random_raw(len(source)), kind="stable")
    return Picked(source, sorted(order[num_test:].tolist())), Picked(source, sorted(order[:num_test].tolist()))


def train_and_test(train: Source, test: Source | None, share: float | None, seed: int) -> tuple[Source, Source | None]:
    """Returns the sets that there are, or those that `hold_out` makes of the first where it is alone.

    Raises:
        UserError: a share is asked for beside a test set.
    """
    if test is not None and share is not None:
        raise UserError(
            f"expected task.data.test_share=null beside a test set, found {share}; set it to null, or leave the test set out"
        )
    return (train, test) if test is not None else hold_out(train, share, seed)


def decoded(
    folder: Path, make: Callable[[], tuple[Source, Source | None]], classes: Callable[[], Sequence[str]] = tuple
) -> DecodedData:
    """Returns the arrays of a training and a test set, which are made, decoded and summed up in a line if there is no `folder`.

    The folder's name says what they are (`identity_of`); `classes` gives the names of classes for the line, if they have some.

    They are ``train_inputs``, ``train_targets``, the same of ``test``, and for pictures and floating-point inputs ``mean`` and
    ``deviation`` of each channel of the training set, (C,) float64. Pictures are uint8 (N, H, W, C), other inputs float32 or
    int64 (N, ...); targets are int64 (N, ...), or float32 (N, values, ...). No more than some examples are in memory at a time.

    Raises:
        UserError: examples are of different shapes or types, or of a type that is nothing here.
    """

    def write(new: NewArrays) -> None:
        train, test = make()
        moments = ChannelMoments()
        for inputs in _write_subset(new, train, "train"):
            if inputs.dtype != np.int64:
                moments.add(np.moveaxis(inputs, -1, 1) / 255 if inputs.dtype == np.uint8 else inputs)
        if moments.count:
            new.save("mean", moments.mean)
            new.save("deviation", moments.deviation)
        if test is not None:
            deque(_write_subset(new, test, "test", as_first=train), maxlen=0)

    return written_with_summary(folder, write, lambda arrays: examples_in_words(arrays, classes()))


def dataset_of(
    data: DecodedData,
    *,
    mean: PerChannel | None = None,
    deviation: PerChannel | None = None,
    num_train: int | None = None,
    num_test: int | None = None,
) -> Dataset:
    """Returns decoded arrays as what is trained on, mapped from disk: only what is used of them is in memory.

    Args:
        data: as `decoded` gives it.
        mean: taken off each channel; that of the training set for None. Of pictures, whose pixels are then from 0 to 1.
        deviation: by which each channel is divided; that of the training set for None.
        num_train: how many of the training examples are used, drawn once and for all, since sources may be sorted by class;
            all for None.
        num_test: the same for the test.

    Raises:
        UserError: a mean or a deviation is of another number of channels; `data.sound.check_examples`.
    """
    arrays = {name: torch.from_numpy(array) for name, array in data.arrays.items()}
    prepare: Callable[[Tensor], Tensor] = as_they_are
    if "mean" in arrays:
        channels = _channels(mean, arrays["mean"], "mean"), _channels(deviation, arrays["deviation"], "deviation")
        if min(channels[1]) <= 0:
            raise UserError(f"expected task.data.deviation above 0, found {min(channels[1])}; change it")
        kind = NormaliseImages if arrays["train_inputs"].dtype == torch.uint8 else NormaliseChannels
        prepare = kind(*channels)
    elif mean is not None or deviation is not None:
        raise UserError(
            "expected task.data.mean=null and task.data.deviation=null for inputs that are whole numbers, found another; "
            "set both to null"
        )

    def examples(subset: str, count: int | None) -> Examples:
        every = Examples(arrays[f"{subset}_inputs"], arrays[f"{subset}_targets"], prepare)
        return every if count is None else every.draw(len(take(every, count, f"task.data.num_{subset}")))

    test = examples("test", num_test) if "test_inputs" in arrays else None
    return Dataset(examples("train", num_train), test, data.digest)


def as_they_are(inputs: Inputs) -> Inputs:
    """Returns the inputs: what prepares those that need no preparing."""
    return inputs


def _channels(given: PerChannel | None, measured: Tensor, key: str) -> tuple[float, ...]:
    if given is None:
        return tuple(measured.tolist())
    if isinstance(given, int | float):
        return (float(given),) * len(measured)
    if len(given) != len(measured):
        raise UserError(
            f"expected task.data.{key} to be one number or one for each of {len(measured)} channels, found {len(given)}; "
            "change it"
        )
    return tuple(map(float, given))


def _write_subset(
    new: NewArrays, source: Source, subset: str, *, as_first: Source | None = None
) -> Iterator[np.ndarray]:
    """Writes the examples of a subset, like the first of `as_first` or its own, and yields their inputs, some at a time."""
    if not len(source):
        raise UserError(f"expected examples in {subset}, found none; mend task.data")
    expected = source if as_first is None else as_first
    first = [as_input(expected[0][0], expected.place(0)), as_target(expected[0][1], expected.place(0))]
    names = [f"{subset}_inputs", f"{subset}_targets"]
    shapes = [(len(source), *array.shape) for array in first]
    with (
        new.rows(names[0], shapes[0], first[0].dtype) as append_inputs,
        new.rows(names[1], shapes[1], first[1].dtype) as append_targets,
    ):
        for start in range(0, len(source), _BLOCK):
            pairs = [_example(source, number, first) for number in range(start, min(start + _BLOCK, len(source)))]
            inputs, targets = (np.stack(part) for part in zip(*pairs, strict=True))
            append_inputs(inputs)
            append_targets(targets)
            yield inputs


def _example(source: Source, number: int, first: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    place = source.place(number)
    example = source[number]
    arrays = as_input(example[0], place), as_target(example[1], place)
    for what, array, expected in zip(("an input", "a target"), arrays, first, strict=True):
        if (array.shape, array.dtype) != (expected.shape, expected.dtype):
            raise UserError(
                f"expected {what} of shape {expected.shape} and type {expected.dtype}, as the first, in {place}, found "
                f"{array.shape} and {array.dtype}; bring them to one shape and type (task.data.side=… does pictures)"
            )
    return arrays


def as_input(value: Any, place: str) -> np.ndarray:
    """Returns an input: uint8 (H, W, C) of a picture, else float32 or int64."""
    array = _array(value, place)
    if array.dtype != np.uint8:
        return _plain(array, place)
    if array.ndim == 2:
        return array[..., None]
    if array.ndim == 3 and array.shape[-1] <= _MOST_CHANNELS:
        return array
    if array.ndim == 3 and array.shape[0] <= _MOST_CHANNELS:
        return np.moveaxis(array, 0, -1)
    raise UserError(
        f"expected inputs of type uint8 to be pictures (H, W), (H, W, C) or (C, H, W), found {array.shape} in {place}; "
        "store features as floating-point numbers, and tokens as int64"
    )


def as_target(value: Any, place: str) -> np.ndarray:
    """Returns a target: int64, or float32 of one dimension or more, as a model's outputs are."""
    array = _plain(_array(value, place), place)
    return array[None] if array.ndim == 0 and array.dtype == np.float32 else array


def _array(value: Any, place: str) -> np.ndarray:
    if isinstance(value, Tensor):
        value = (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu()
    try:
        return np.asarray(value)
    except Exception as error:  # whatever an object of another library answers
        raise UserError(f"expected numbers in {place}, found {type(value).__name__}; make an array of it") from error


def _plain(array: np.ndarray, place: str) -> np.ndarray:
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype.kind in "biu":
        return array.astype(np.int64)
    raise UserError(f"expected real numbers in {place}, found type {array.dtype}; make them floating-point or whole")
