"""Pictures and labels from parquet files, as data sets are published: a column of encoded pictures, one of whole numbers."""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmc_lab.data.examples import Dataset
from lmc_lab.data.paths import existing_folder, identity_of
from lmc_lab.data.picture import READING, NumChannels, decode_picture
from lmc_lab.data.source import PerChannel, Source, dataset_of, decoded, train_and_test
from lmc_lab.errors import UserError, one_line
from lmc_lab.values import Count, Natural, Share

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label",)


@dataclass(frozen=True)
class Columns:
    """Which columns are read; None is found by itself: ``img`` or ``image``, and ``label``."""

    image: str | None = None
    label: str | None = None


def load(
    *,
    data_dir: Path,
    cache_dir: Path,
    path: str,
    train_files: str = "train-*.parquet",
    test_files: str | None = "test-*.parquet",
    image_column: str | None = None,
    label_column: str | None = None,
    side: Count | None = None,
    num_channels: NumChannels = 3,
    test_share: Share | None = None,
    test_seed: Natural = 0,
    mean: PerChannel | None = None,
    deviation: PerChannel | None = None,
    num_train: Count | None = None,
    num_test: Count | None = None,
) -> Dataset:
    """Returns pictures and labels of parquet files, in the order of the files' names.

    Args:
        data_dir: Where `path` begins, unless it is absolute.
        cache_dir: Holds the decoded pictures.
        path: The folder of the files.
        train_files: Which of its files are the training set; may lie deeper, ``data/train-*.parquet``.
        test_files: The same of the test set; there is none for None.
        image_column: See `Columns`.
        label_column: See there.
        side: Of the square that pictures are cut and resized to; all have one size for None.
        num_channels: 3 for colours, 1 for grey.
        test_share: The share of the training set that becomes a test set where there is none.
        test_seed: By which it is drawn.
        mean: See `data.source.dataset_of`, as for the rest.
        deviation: See there.
        num_train: See there.
        num_test: See there.

    Raises:
        UserError: there are no such files, or see `Rows`.
    """
    folder, columns = existing_folder(Path(data_dir) / path), Columns(image_column, label_column)
    train = _files(folder, train_files, "train_files")
    test = None if test_files is None else _files(folder, test_files, "test_files")
    settings = (READING, len(train), columns, side, num_channels, test_share, test_seed)
    name = f"parquet-{identity_of([*train, *(test or [])], settings)}"

    def sources() -> tuple[Source, Source | None]:
        train_rows, test_rows = (
            None if files is None else Rows(files, columns, side, num_channels) for files in (train, test)
        )
        assert train_rows is not None
        return train_and_test(train_rows, test_rows, test_share, test_seed)

    data = decoded(Path(cache_dir) / name, sources, lambda: _class_names(train[0], columns))
    return dataset_of(data, mean=mean, deviation=deviation, num_train=num_train, num_test=num_test)


def _files(folder: Path, pattern: str, key: str) -> list[Path]:
    if not (files := sorted(folder.glob(pattern))):
        raise UserError(
            f"expected files {pattern} in {folder}, found none; change task.data.{key}"
            + (" or set it to null" if key == "test_files" else "")
        )
    return files


class Rows:
    """The rows of parquet files as a source, of which one row group is in memory at a time.

    A picture is PNG, JPEG or the like, in a binary column or in the field ``bytes`` of a column of structs.

    Raises:
        UserError: a file is no parquet file, has no rows, lacks a column, or a row's picture or label cannot be used.
    """

    def __init__(
        self, files: Sequence[Path], columns: Columns, side: int | None = None, num_channels: NumChannels = 3
    ) -> None:
        import pyarrow.parquet as pq

        self._columns, self._side, self._num_channels = columns, side, num_channels
        self._groups: list[tuple[Path, int, int]] = []  # file, number in it, first row in it
        sizes: list[int] = []
        for file in files:
            with _damage_named(file):
                metadata = pq.read_metadata(file)
            row = 0
            for group in range(metadata.num_row_groups):
                self._groups.append((file, group, row))
                sizes.append(metadata.row_group(group).num_rows)
                row += sizes[-1]
            if not row:
                raise UserError(f"expected rows in {file}, found none; copy it again or remove it")
        self._ends = list(accumulate(sizes))  # of each group, as numbers of examples
        self._read = lru_cache(maxsize=1)(self._read_group)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, number: int, /) -> tuple[Any, Any]:
        group, row = self._position(number)
        pictures, labels = self._read(group)
        place = self.place(number)
        content = _content(pictures[row], place)
        return decode_picture(content, place, side=self._side, num_channels=self._num_channels), labels[row]

    def place(self, number: int) -> str:
        """Returns in which row of which file an example is."""
        group, row = self._position(number)
        file, _, first = self._groups[group]
        return f"row {first + row} of {file}"

    def _position(self, number: int) -> tuple[int, int]:
        """Returns the row group of an example, and its row there."""
        group = bisect_right(self._ends, number)
        return group, number - (self._ends[group - 1] if group else 0)

    def _read_group(self, number: int) -> tuple[list[Any], np.ndarray]:
        """Returns the encoded pictures and the labels of a row group."""
        import pyarrow.parquet as pq

        file, group, first = self._groups[number]
        with _damage_named(file), pq.ParquetFile(file) as opened:
            image, label = _columns_in(opened.schema_arrow.names, self._columns, file)
            table = opened.read_row_group(group, columns=[image, label])
        return _encoded(table[image], image, file), _labels(table[label], label, file, first)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Says of a file that pyarrow cannot read that it is damaged."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = one_line(error).rstrip(". ")
        raise UserError(f"expected a parquet file at {path}, found a damaged one ({reason}); copy it again") from error


def _class_names(path: Path, columns: Columns) -> list[str]:
    """Returns the names of classes, if they are written into the file as Hugging Face's `datasets` does."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    metadata = (schema.metadata or {}).get(b"huggingface")
    label = _columns_in(schema.names, columns, path)[1]
    try:
        return [str(name) for name in json.loads(metadata)["info"]["features"][label]["names"]] if metadata else []
    except (ValueError, KeyError, TypeError):
        return []


def _columns_in(names: Sequence[str], columns: Columns, path: Path) -> tuple[str, str]:
    """Returns the names of the columns with pictures and with labels."""
    image = _column(names, columns.image, _IMAGE_COLUMNS, "image", path)
    return image, _column(names, columns.label, _LABEL_COLUMNS, "label", path)


def _column(names: Sequence[str], asked: str | None, usual: Sequence[str], what: str, path: Path) -> str:
    """Returns the name of the column with images or labels."""
    candidates = usual if asked is None else [asked]
    if found := [name for name in candidates if name in names]:
        return found[0]
    raise UserError(
        f"expected a column {' or '.join(candidates)} in {path}, found the columns {', '.join(names)}; "
        f"name one with ++task.data.{what}_column=…"
    )


def _encoded(column: "pa.ChunkedArray", name: str, path: Path) -> list[Any]:
    """Returns the encoded picture of each row, None where there is none."""
    import pyarrow as pa

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        return [row and row["bytes"] for row in column.to_pylist()]
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return column.to_pylist()
    raise UserError(
        f"expected encoded pictures (binary, or a struct with bytes) in the column {name} of {path}, found {column.type}; "
        "name the column of pictures with ++task.data.image_column=…"
    )


def _content(encoded: bytes | None, place: str) -> bytes:
    if not encoded:
        raise UserError(
            f"expected a picture in {place}, found {'null' if encoded is None else 'no bytes'}; mend the file"
        )
    return encoded


def _labels(column: "pa.ChunkedArray", name: str, path: Path, first_row: int) -> np.ndarray:
    """Returns the labels, int64 (N,), of rows from `first_row` on."""
    import pyarrow as pa

    if not pa.types.is_integer(column.type):
        raise UserError(
            f"expected whole numbers in the column {name} of {path}, found {column.type}; "
            "number the classes 0 … K - 1, or name another column with ++task.data.label_column=…"
        )
    if column.null_count:
        row = first_row + column.to_pylist().index(None)
        raise UserError(f"expected a label in row {row} of {path}, found null; mend the file")
    return column.to_numpy().astype(np.int64)
