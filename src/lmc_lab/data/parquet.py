"""Pictures and labels from parquet files, as data sets are published: a column of encoded pictures, one of whole numbers."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmc_lab.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label",)


@dataclass(frozen=True)
class Columns:
    """Which columns are read; None is found by itself: ``img`` or ``image``, and ``label``."""

    image: str | None = None
    label: str | None = None


def decode_pictures(files: Mapping[str, Sequence[Path]], columns: Columns, side: int) -> dict[str, np.ndarray]:
    """Returns ``<subset>_images``, uint8 (N, side, side, 3), and ``<subset>_labels``, int64 (N,), of each subset's files.

    A picture is PNG, JPEG or the like, in a binary column or in the field ``bytes`` of a column of structs.

    Raises:
        UserError: a file is no parquet file, has no rows, lacks a column, or a row's picture or label cannot be used.
    """
    arrays: dict[str, np.ndarray] = {}
    for subset, paths in files.items():
        parts = [_decode_file(path, columns, side) for path in paths]
        arrays[f"{subset}_images"] = np.concatenate([images for images, _ in parts])
        arrays[f"{subset}_labels"] = np.concatenate([labels for _, labels in parts])
    return arrays


def _decode_file(path: Path, columns: Columns, side: int) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        image = _column(schema.names, columns.image, _IMAGE_COLUMNS, "image", path)
        label = _column(schema.names, columns.label, _LABEL_COLUMNS, "label", path)
        table = pq.read_table(path, columns=[image, label], partitioning=None)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(". ")
        raise UserError(f"expected a parquet file at {path}, found a damaged one ({reason}); copy it again") from error
    if not table.num_rows:
        raise UserError(f"expected rows in {path}, found none; copy it again or remove it")
    encoded = _encoded(table[image], image, path)
    pictures = [_decode_picture(item, side, f"row {row} of {path}") for row, item in enumerate(encoded)]
    return np.stack(pictures), _labels(table[label], label, path)


def _column(names: Sequence[str], asked: str | None, usual: Sequence[str], what: str, path: Path) -> str:
    """Returns the name of the column with images or labels."""
    candidates = usual if asked is None else [asked]
    if found := [name for name in candidates if name in names]:
        return found[0]
    raise UserError(
        f"expected a column {' or '.join(candidates)} in {path}, found the columns {', '.join(names)}; "
        f"name one with +task.data.{what}_column=…"
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
        "name the column of pictures with +task.data.image_column=…"
    )


def _decode_picture(encoded: bytes | None, side: int, place: str) -> np.ndarray:
    """Returns a picture, uint8 (side, side, 3)."""
    from PIL import Image

    if not encoded:
        raise UserError(
            f"expected a picture in {place}, found {'null' if encoded is None else 'no bytes'}; mend the file"
        )
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            size = picture.size
            pixels = np.asarray(picture.convert("RGB")) if size == (side, side) else None
    except (
        Exception
    ) as error:  # Pillow's readers raise what their formats suggest: OSError, SyntaxError, struct.error ...
        raise UserError(f"expected a picture in {place}, found a damaged one ({error}); mend the file") from error
    if pixels is None:
        raise UserError(
            f"expected a picture of {side} x {side} pixels in {place}, found {size[0]} x {size[1]}; resize it"
        )
    return pixels


def _labels(column: "pa.ChunkedArray", name: str, path: Path) -> np.ndarray:
    """Returns the labels, int64 (N,)."""
    import pyarrow as pa

    if not pa.types.is_integer(column.type):
        raise UserError(
            f"expected whole numbers in the column {name} of {path}, found {column.type}; "
            "name the column of labels with +task.data.label_column=…"
        )
    if column.null_count:
        row = column.to_pylist().index(None)
        raise UserError(f"expected a label in row {row} of {path}, found null; mend the file")
    return column.to_numpy().astype(np.int64)
