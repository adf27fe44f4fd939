"""Examples from one file of arrays, `.npz` or `.safetensors`."""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from lmc_lab.data.examples import Dataset
from lmc_lab.data.paths import existing_file, identity_of
from lmc_lab.data.source import PerChannel, Source, dataset_of, decoded, train_and_test
from lmc_lab.errors import UserError, nearest, one_line
from lmc_lab.values import Count, Natural, Share

_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, SafetensorError)  # what the two readers raise
_USUAL = {  # names of inputs and targets, as people choose them
    "train": (("train_inputs", "train_targets"), ("x_train", "y_train"), ("inputs", "targets"), ("x", "y")),
    "test": (("test_inputs", "test_targets"), ("x_test", "y_test")),
}


def load(
    *,
    data_dir: Path,
    cache_dir: Path,
    path: str,
    train: Sequence[str] | None = None,
    test: Sequence[str] | None = None,
    test_share: Share | None = None,
    test_seed: Natural = 0,
    mean: PerChannel | None = None,
    deviation: PerChannel | None = None,
    num_train: Count | None = None,
    num_test: Count | None = None,
) -> Dataset:
    """Returns the examples of a file of arrays (N, ...).

    Inputs of type uint8 are pictures, (N, H, W), (N, H, W, C) or (N, C, H, W); others are float32, their channels in the
    second dimension, or whole numbers, which stay as they are. Targets are whole numbers (N,), or values (N, ...).

    Args:
        data_dir: Where `path` begins, unless it is absolute.
        cache_dir: Holds the decoded arrays.
        path: The file.
        train: The names of inputs and targets; the first there are of ``train_inputs, train_targets``, ``x_train, y_train``,
            ``inputs, targets`` and ``x, y`` for None.
        test: The same of the test set; ``test_inputs, test_targets`` or ``x_test, y_test``, or no test set, for None.
        test_share: The share of the training set that becomes a test set where there is none.
        test_seed: By which it is drawn.
        mean: See `data.source.dataset_of`, as for the rest.
        deviation: See there.
        num_train: See there.
        num_test: See there.

    Raises:
        UserError: there is no such file, it is damaged, or lacks arrays.
    """
    file = existing_file(Path(data_dir) / path)
    folder = Path(cache_dir) / f"arrays-{identity_of([file], train, test, test_share, test_seed)}"

    def sources() -> tuple[Source, Source | None]:
        with _opened(file) as arrays:
            sets = [_source(arrays, subset, names) for subset, names in (("train", train), ("test", test))]
        if sets[0] is None:
            raise UserError(
                f"expected arrays {' or '.join(map(' and '.join, _USUAL['train']))} in {file}, found "
                f"{', '.join(arrays.names) or 'none'}; name two with task.data.train=[…,…]"
            )
        return train_and_test(sets[0], sets[1], test_share, test_seed)

    data = decoded(folder, sources)
    return dataset_of(data, mean=mean, deviation=deviation, num_train=num_train, num_test=num_test)


@dataclass(frozen=True)
class _Arrays:
    """The arrays of an open file by name."""

    file: Path
    names: Sequence[str]
    read: Callable[[str], Any]

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise UserError(f"expected an array {name} in {self.file}, found others; {nearest(name, self.names)}")
        try:
            return self.read(name)
        except _DAMAGE as error:
            raise _damaged(self.file, error, name) from error


@contextmanager
def _opened(file: Path) -> Iterator[_Arrays]:
    """Opens a file of either format.

    Raises:
        UserError: it is neither, or damaged.
    """
    if file.suffix not in (".npz", ".safetensors"):
        raise UserError(f"expected task.data.path to be a .npz or .safetensors file, found {file.name}; change it")
    with ExitStack() as stack:
        try:
            if file.suffix == ".npz":
                archive = stack.enter_context(np.load(file, allow_pickle=False))
                arrays = _Arrays(file, archive.files, archive.__getitem__)
            else:
                opened = stack.enter_context(safe_open(file, framework="pt"))
                arrays = _Arrays(file, list(opened.keys()), opened.get_tensor)
        except _DAMAGE as error:
            raise _damaged(file, error) from error
        yield arrays


def _damaged(file: Path, error: Exception, name: str | None = None) -> UserError:
    if "Object arrays" in str(error):  # numpy's, of texts as pandas holds them
        return UserError(
            f"expected numbers in {name} of {file}, found objects; number the classes 0 … K - 1, and save an array of numbers"
        )
    return UserError(f"expected arrays in {file}, found a file that cannot be read ({one_line(error)}); write it again")


def _source(arrays: _Arrays, subset: str, asked: Sequence[str] | None) -> "_ArraySource | None":
    """Returns the examples of a subset, or None where nobody named its arrays and none have a usual name."""
    usual = (names for names in _USUAL[subset] if set(names) <= set(arrays.names))
    names = next(usual, None) if asked is None else tuple(asked)
    if names is None:
        return None
    if len(names) != 2:
        raise UserError(f"expected task.data.{subset} to name inputs and targets, found {len(names)} names; give two")
    both = [arrays[name] for name in names]
    for name, array in zip(names, both, strict=True):
        _check_array(array, name, arrays.file)
    if not all(array.ndim and len(array) == len(both[0]) for array in both):
        raise UserError(
            f"expected {names[1]} of {arrays.file} to have a target for each input in {names[0]}, found shapes "
            f"{tuple(both[0].shape)} and {tuple(both[1].shape)}; mend the file"
        )
    return _ArraySource(arrays.file, names[0], *both)


def _check_array(array: Any, name: str, file: Path) -> None:
    """Refuses an array of no examples, and one of texts; what else an array may be is looked at example by example."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "US":
        raise UserError(
            f"expected numbers in {name} of {file}, found texts ({array.dtype}); number the classes 0 … K - 1, as "
            "numpy.unique(…, return_inverse=True) does"
        )
    if array.ndim and not len(array):
        raise UserError(f"expected examples in {name} of {file}, found 0; write it again")


@dataclass(frozen=True)
class _ArraySource:
    file: Path
    name: str  # of the inputs
    inputs: Any  # (N, ...)
    targets: Any  # (N, ...)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, number: int, /) -> tuple[Any, Any]:
        return self.inputs[number], self.targets[number]

    def place(self, number: int) -> str:
        return f"row {number} of {self.name} in {self.file}"
