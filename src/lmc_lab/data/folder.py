"""Pictures in folders that are their classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmc_lab.data.examples import Dataset
from lmc_lab.data.paths import existing_folder, identity_of
from lmc_lab.data.picture import READING, NumChannels, decode_picture
from lmc_lab.data.source import PerChannel, Source, dataset_of, decoded, train_and_test
from lmc_lab.errors import UserError
from lmc_lab.values import Count, Natural, Share

_SUBSETS = {  # what people call the folders of a training and a test set
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation", "dev", "eval"),
}
_SUFFIXES = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"])


def load(
    *,
    data_dir: Path,
    cache_dir: Path,
    path: str,
    side: Count | None = None,
    num_channels: NumChannels = 3,
    test_share: Share | None = None,
    test_seed: Natural = 0,
    mean: PerChannel | None = None,
    deviation: PerChannel | None = None,
    num_train: Count | None = None,
    num_test: Count | None = None,
) -> Dataset:
    """Returns the pictures below a folder: ``train/<class>/…`` and perhaps ``test/<class>/…``, or ``<class>/…`` alone.

    Classes are numbered in the order of their names; a picture is known by its suffix, in whatever depth below its class, and
    files that begin with a dot are none. The order of examples is that of their paths.

    Args:
        data_dir: Where `path` begins, unless it is absolute.
        cache_dir: Holds the decoded pictures.
        path: The folder.
        side: Of the square that pictures are cut and resized to; all have one size for None.
        num_channels: 3 for colours, 1 for grey.
        test_share: The share of the training set that becomes a test set where there is none.
        test_seed: By which it is drawn.
        mean: See `data.source.dataset_of`, as for the rest.
        deviation: See there.
        num_train: See there.
        num_test: See there.

    Raises:
        UserError: there is no such folder or no picture in it, its subsets have other names, the test set has a class of its
            own, or a picture is damaged or of another size.
    """
    root = existing_folder(Path(data_dir) / path)
    _check_subsets(root)
    is_split = (root / "train").is_dir()
    train = _class_folders(root / "train" if is_split else root)
    test = _class_folders(root / "test") if is_split and (root / "test").is_dir() else None
    for unknown in sorted((test or {}).keys() - train.keys()):
        raise UserError(f"expected classes of {root / 'train'} in {root / 'test'}, found {unknown}; move its pictures")
    files = [file for folders in (train, test or {}) for found in folders.values() for file in found]
    name = f"folder-{identity_of(files, READING, side, num_channels, test_share, test_seed)}"

    def sources() -> tuple[Source, Source | None]:
        labels = {name: label for label, name in enumerate(train)}

        def pictures(folders: dict[str, list[Path]]) -> _Pictures:
            pairs = [(file, labels[name]) for name, found in folders.items() for file in found]
            return _Pictures(pairs, side, num_channels)

        return train_and_test(pictures(train), None if test is None else pictures(test), test_share, test_seed)

    data = decoded(Path(cache_dir) / name, sources, lambda: list(train))
    return dataset_of(data, mean=mean, deviation=deviation, num_train=num_train, num_test=num_test)


def _check_subsets(root: Path) -> None:
    """Refuses a training or a test set by another name than train/ and test/, which would be read as a class, or not at all.

    A class may have such a name, as the trains among other vehicles, where it is one folder of several.
    """
    names = [folder.name for folder in _folders(root)]
    train, test = ([name for name in names if name.lower() in known] for known in _SUBSETS.values())
    are_classes = "train" not in names and not (train and test) and len([*train, *test]) < len(names)
    if not (train or test) or are_classes or ("train" in names and ("test" in names or not test)):
        return
    mend = [
        *([] if "train" in names or not train else [f"rename {train[0]}/ to train/"]),
        *([] if "test" in names or not test else [f"rename {test[0]}/ to test/"]),
        *(
            []
            if train
            else [f"put the training pictures into train/<class>/…, or set task.data.path to {root / test[0]}"]
        ),
    ]
    found = " and ".join(f"{name}/" for name in [*train, *test])
    raise UserError(
        f"expected the training and the test set in {root} to be called train/ and test/, found {found}; {', '.join(mend)}"
    )


def _folders(root: Path) -> list[Path]:
    """Returns the folders in one, sorted, but for those that are hidden."""
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _class_folders(root: Path) -> dict[str, list[Path]]:
    """Returns the pictures of each class by its name, both sorted."""
    folders = _folders(root)
    pictures_by_class = {folder.name: sorted(filter(_is_picture, folder.rglob("*"))) for folder in folders}
    if not any(pictures_by_class.values()):
        raise UserError(
            f"expected pictures in folders below {root}, one for each class, found none; put {root / 'a-class'}/….png there"
        )
    for name, pictures in pictures_by_class.items():
        if not pictures:
            raise UserError(f"expected pictures in {root / name}, found none; put some there or remove the folder")
    return pictures_by_class


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()


@dataclass(frozen=True)
class _Pictures:
    files: Sequence[tuple[Path, int]]
    side: int | None
    num_channels: NumChannels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int, /) -> tuple[Any, Any]:
        file, label = self.files[number]
        return decode_picture(file, str(file), side=self.side, num_channels=self.num_channels), label

    def place(self, number: int) -> str:
        return str(self.files[number][0])
