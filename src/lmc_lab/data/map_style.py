"""Examples of any map-style `torch.utils.data.Dataset`, read once."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from lmc_lab.data.examples import Dataset
from lmc_lab.data.picture import in_eight_bits
from lmc_lab.data.source import PerChannel, as_input, as_target, dataset_of, decoded, train_and_test
from lmc_lab.errors import UserError, is_users_own, one_line
from lmc_lab.generators import forked_generators
from lmc_lab.values import Count, Natural, Share

MapStyle = torch.utils.data.Dataset[Any]

_NUM_PROBED = 256


def load(
    *,
    data_dir: Path,
    cache_dir: Path,
    train: MapStyle,
    test: MapStyle | None = None,
    test_share: Share | None = None,
    test_seed: Natural = 0,
    mean: PerChannel | None = None,
    deviation: PerChannel | None = None,
    num_train: Count | None = None,
    num_test: Count | None = None,
) -> Dataset:
    """Returns the examples of data sets whose items are pairs of input and target: tensors, arrays, pictures or numbers.

    What is read is kept, and known by the class of the data set, its length and 256 of its items: where these are as they
    were, the others are taken to be so, too.

    Args:
        data_dir: Not used: a data set knows where its files are.
        cache_dir: Holds what was read.
        train: The training set, with `__len__` and `__getitem__`. An item must be the same each time.
        test: The test set.
        test_share: The share of the training set that becomes a test set where there is none.
        test_seed: By which it is drawn.
        mean: See `data.source.dataset_of`, as for the rest.
        deviation: See there.
        num_train: See there.
        num_test: See there.

    Raises:
        UserError: one is no map-style data set, an item is no such pair, or is another when it is asked for again.
    """
    train_items = _Items(train, "task.data.train")
    test_items = None if test is None else _Items(test, "task.data.test")
    with forked_generators():  # what a data set draws is not the model's
        parts = [train_items.identity(), test_items and test_items.identity(), test_share, test_seed]
        folder = Path(cache_dir) / f"dataset-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"
        data = decoded(
            folder, lambda: train_and_test(train_items, test_items, test_share, test_seed), train_items.classes
        )
    return dataset_of(data, mean=mean, deviation=deviation, num_train=num_train, num_test=num_test)


@dataclass(frozen=True)
class _Items:
    """The items of a data set as a source."""

    items: Any
    key: str  # of the config

    def __post_init__(self) -> None:
        if not hasattr(self.items, "__len__") or not hasattr(self.items, "__getitem__"):
            raise UserError(
                f"expected {self.key} to be a data set with __len__ and __getitem__, found {type(self.items).__name__}; "
                "change its _target_"
            )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int, /) -> tuple[Any, Any]:
        item = self._item(number)
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise UserError(
                f"expected a pair of input and target in {self.place(number)}, found {type(item).__name__}; "
                "wrap the data set in one that returns pairs"
            )
        return in_eight_bits(item[0], self.place(number)) if isinstance(item[0], Image) else item[0], item[1]

    def _item(self, number: int) -> Any:
        try:
            return self.items[number]
        except UserError:
            raise
        except Exception as error:  # whatever a data set raises
            if is_users_own(error):  # keeps its traceback, which says where
                error.add_note(f"in {self.place(number)}")
                raise
            raise UserError(
                f"expected {self.place(number)}, found {type(error).__name__} ({one_line(error)}); mend what is read there"
            ) from error

    def place(self, number: int) -> str:
        return f"item {number} of {self.key}"

    def classes(self) -> list[str]:
        """Returns the names of classes, as the data sets of torchvision have them."""
        names = getattr(self.items, "classes", ())
        return list(names) if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names) else []

    def identity(self) -> str:
        """Returns what the data set is known by; each item that is looked at is read twice, since it must not change.

        Raises:
            UserError: it does.
        """
        kind = type(self.items)
        digest = hashlib.sha256(f"{kind.__module__}.{kind.__qualname__} {len(self)}".encode())
        for number in np.unique(np.linspace(0, len(self) - 1, min(_NUM_PROBED, len(self))).astype(int)).tolist():
            first, again = self._bytes(number), self._bytes(number)
            if first != again:
                raise UserError(
                    f"expected {self.place(number)} to be the same each time, found that it changes; leave random transforms "
                    "out of it, and write them into task.augmentation"
                )
            digest.update(first)
        return digest.hexdigest()

    def _bytes(self, number: int) -> bytes:
        place, (value, target) = self.place(number), self[number]
        return as_input(value, place).tobytes() + as_target(target, place).tobytes()
