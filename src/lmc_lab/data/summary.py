"""A line about decoded data, printed when they are read for the first time, so that one sees whether they were understood."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lmc_lab.data.cache import Arrays, DecodedData, NewArrays, written_once

_MOST_NAMES = 10


def written_with_summary(
    folder: Path, write: Callable[[NewArrays], None], in_words: Callable[[Arrays], str]
) -> DecodedData:
    """Does what `written_once` does, and prints a summary of what it wrote; nothing where another process had written it."""
    is_new = False

    def noted(new: NewArrays) -> None:
        nonlocal is_new
        is_new = True
        write(new)

    data = written_once(folder, noted)
    if is_new:
        print(f"data: {in_words(data.arrays)}", flush=True)
    return data


def examples_in_words(arrays: Mapping[str, np.ndarray], classes: Sequence[str] = ()) -> str:
    """Returns ``90 training and 30 test examples, uint8 (16, 16, 3), 3 classes: daisy, rose, tulip``.

    Args:
        arrays: as `data.source.decoded` gives them.
        classes: their names in the order of labels, where they are known.
    """
    targets = [arrays[f"{subset}_targets"] for subset in ("train", "test") if f"{subset}_targets" in arrays]
    inputs = arrays["train_inputs"]
    return f"{counts_in_words(targets)} examples, {_type(inputs)}, {_targets(targets, classes)}"


def counts_in_words(subsets: Sequence[np.ndarray]) -> str:
    """Returns ``90 training and 30 test`` for the arrays (n, ...) of a training and perhaps of a test set."""
    return " and ".join(f"{len(part):,} {name}" for part, name in zip(subsets, ("training", "test"), strict=False))


def _targets(subsets: Sequence[np.ndarray], classes: Sequence[str]) -> str:
    if subsets[0].ndim > 1 or subsets[0].dtype.kind != "i":
        return f"targets {_type(subsets[0])}"
    labels = np.unique(np.concatenate(subsets))
    names = dict(enumerate(classes))
    absent = [names.get(label, str(label)) for label in np.setdiff1d(labels, subsets[-1])]
    lack = f", none of {_listed(absent)} in the test set" if absent else ""
    if classes:
        return f"{len(classes)} classes: {_listed(classes)}{lack}"
    are_all = labels[0] == 0 and labels[-1] == len(labels) - 1
    return (f"{len(labels)} classes" if are_all else f"{len(labels)} labels from {labels[0]} to {labels[-1]}") + lack


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST_NAMES], *(["…"] if len(names) > _MOST_NAMES else [])])


def _type(values: np.ndarray) -> str:
    """Returns the type and the shape of an example of values (N, ...)."""
    return f"{values.dtype} {values.shape[1:]}"
