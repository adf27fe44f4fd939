"""Encoded pictures (PNG, JPEG and whatever else Pillow reads) as arrays."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from lmc_lab.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

NumChannels = Literal[1, 3]  # grey, or red, green and blue

READING = 2  # a part of what decoded pictures are known by; raised when the same file becomes other pixels
_WHITE = 2**16 - 1  # of 16 bits


def decode_picture(
    file: Path | bytes, place: str, *, side: int | None = None, num_channels: NumChannels = 3
) -> np.ndarray:
    """Returns a picture, uint8 (H, W, C): as it is, or the largest square at its centre, resized to `side` x `side`.

    Of 16 bits it is made one of 8 (`in_eight_bits`).

    Args:
        file: the file, or what is in it.
        place: where it is, for the message.
        side: of the square; None for a picture as it is.
        num_channels: 1 for grey, 3 for colours.

    Raises:
        UserError: it is none, or damaged, or its channels have more than 16 bits.
    """
    picture = _read(file, place, num_channels)
    if side is not None and picture.size != (side, side):
        picture = _centre(picture, side)
    return np.asarray(picture).reshape(picture.height, picture.width, num_channels)


def _read(file: Path | bytes, place: str, num_channels: NumChannels) -> "Image":
    from PIL import Image

    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as picture:
            return in_eight_bits(picture, place).convert("RGB" if num_channels == 3 else "L")
    except UserError:
        raise
    except (
        Exception
    ) as error:  # Pillow's readers raise what their formats suggest: OSError, SyntaxError, struct.error ...
        raise UserError(f"expected a picture in {place}, found a damaged one ({error}); mend the file") from error


def in_eight_bits(picture: "Image", place: str) -> "Image":
    """Returns a picture of 16 bits, in whose place Pillow would cut at 255, with round(v / 257) for v; any other as it is.

    Raises:
        UserError: its numbers are floating-point, or not from 0 to 65535: what would be white, nobody knows.
    """
    from PIL import Image

    if picture.mode != "F" and not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > _WHITE:
        found = (
            "floating-point numbers" if values.dtype.kind == "f" else f"numbers from {values.min()} to {values.max()}"
        )
        raise UserError(
            f"expected a picture of 8 or 16 bits in {place}, found one of {found}; save it as such, or its numbers as an array "
            "(task/data=npz)"
        )
    return Image.fromarray(((values.astype(np.int64) + 128) // 257).astype(np.uint8))


def _centre(picture: "Image", side: int) -> "Image":
    from PIL.Image import Resampling

    width, height = picture.size
    square = min(width, height)
    left, top = (width - square) / 2, (height - square) / 2
    return picture.resize((side, side), Resampling.BILINEAR, box=(left, top, left + square, top + square))
