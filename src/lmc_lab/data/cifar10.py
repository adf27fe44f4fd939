"""CIFAR-10 (Krizhevsky 2009), from parquet files, a torchvision folder or torchvision's download, in this order."""

import tarfile
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lmc_lab.data.cache import Arrays, decoded_once
from lmc_lab.data.examples import Dataset, Examples, take
from lmc_lab.data.images import CropAndFlip, NormaliseImages
from lmc_lab.data.parquet import Columns, Rows
from lmc_lab.data.paths import identity_of
from lmc_lab.data.picture import READING
from lmc_lab.errors import UserError
from lmc_lab.values import Count

NORMALISE = NormaliseImages(mean=(0.4914, 0.4822, 0.4465), deviation=(0.2470, 0.2435, 0.2616))
_SIDE = 32


def load(
    *,
    data_dir: Path,
    cache_dir: Path,
    num_train: Count | None = None,
    num_test: Count | None = None,
    augment: bool = False,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Dataset:
    """Returns CIFAR-10 as uint8 images (N, 32, 32, 3), normalised batch by batch; `augment` crops and mirrors in training.

    The first of these that exists is decoded, once: ``data_dir/cifar10/{train,test}-*.parquet`` (`data.parquet` says what
    they hold), ``data_dir/cifar-10-batches-py``, torchvision's download.

    Args:
        data_dir: Where the data are looked for.
        cache_dir: Holds the decoded images.
        num_train: How many of the training images are used, from the first on; all for None.
        num_test: The same for the test images.
        augment: Whether training batches are cropped and mirrored at random.
        image_column: Of parquet files; ``img`` or ``image``, whichever there is, for None (`+task.data.image_column=…`).
        label_column: The same for ``label`` (`+task.data.label_column=fine_label`, say).

    Raises:
        UserError: there are no data and no network, or data that cannot be read.
    """
    name, decode = _source(Path(data_dir), image_column, label_column)
    decoded = decoded_once(Path(cache_dir) / f"cifar10-{name}", decode)

    def examples(subset: str, count: int | None) -> Examples:
        images, labels = (torch.from_numpy(decoded.arrays[f"{subset}_{part}"]) for part in ("images", "labels"))
        return take(Examples(images, labels, NORMALISE), count, f"num_{subset}")

    changed = CropAndFlip() if augment else None
    return Dataset(examples("train", num_train), examples("test", num_test), decoded.digest, changed)


def _source(data_dir: Path, image_column: str | None, label_column: str | None) -> tuple[str, Callable[[], Arrays]]:
    """Returns a name for the decoded data that follows from the files they come from, and the function that decodes them."""
    files = {subset: sorted((data_dir / "cifar10").glob(f"{subset}-*.parquet")) for subset in ("train", "test")}
    if all(files.values()):
        columns = Columns(image_column, label_column)
        identity = identity_of([*files["train"], *files["test"]], READING, columns)
        return f"parquet-{identity}", lambda: _decode_parquet(files, columns)
    return "torchvision", lambda: _decode_torchvision(data_dir)


def _decode_parquet(files: Mapping[str, Sequence[Path]], columns: Columns) -> Arrays:
    """Returns the arrays of each subset's files."""
    arrays: Arrays = {}
    for subset, paths in files.items():
        rows = Rows(paths, columns)
        images, labels = zip(*(_example(rows, number) for number in range(len(rows))), strict=True)
        arrays[f"{subset}_images"] = np.stack(images)
        arrays[f"{subset}_labels"] = np.array(labels, dtype=np.int64)
    return arrays


def _example(rows: Rows, number: int) -> tuple[np.ndarray, int]:
    pixels, label = rows[number]
    height, width, _ = pixels.shape
    if (height, width) != (_SIDE, _SIDE):
        raise UserError(
            f"expected a picture of {_SIDE} x {_SIDE} pixels in {rows.place(number)}, found {width} x {height}; resize it"
        )
    return pixels, label


def _decode_torchvision(data_dir: Path) -> Arrays:
    """Returns the arrays of torchvision's own archive, the one pickle that is read here: its md5 is checked first."""
    arrays: Arrays = {}
    for subset in ("train", "test"):
        pictures = _torchvision_cifar10(data_dir, subset)
        arrays[f"{subset}_images"] = np.asarray(pictures.data)
        arrays[f"{subset}_labels"] = np.array(pictures.targets, dtype=np.int64)
    return arrays


def _torchvision_cifar10(data_dir: Path, subset: str) -> Any:
    from torchvision.datasets import CIFAR10

    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        return CIFAR10(str(data_dir), train=subset == "train", download=True)
    except (OSError, RuntimeError, HTTPException, tarfile.TarError) as error:
        raise UserError(
            f"expected CIFAR-10 under {data_dir.resolve()}, found none that is whole, and it cannot be downloaded ({error}); "
            f"put train-*.parquet and test-*.parquet into {data_dir.resolve() / 'cifar10'} or the folder "
            "cifar-10-batches-py beside it, or set data_dir or LMC_DATA_DIR to where they are"
        ) from error
