"""The loss curve of a run, metrics.csv.

Each row ends with a checksum over itself, all rows before it and the address of the file, so that a damaged or a missing row,
or another run's curve, is seen; `curve_check` knows how many there must be.
"""

import csv
import zlib
from collections.abc import Iterable
from pathlib import Path

from lmc_lab.files import DamagedFile, check_format, write_text
from lmc_lab.runs.paths import address_of

CURVE_COLUMNS = ("step", "train_loss", "path_length")
_HEADING = (*CURVE_COLUMNS, "checksum")

Row = dict[str, str]  # by column, without the checksum


def read_rows(path: Path) -> list[Row]:
    """Returns the whole rows of a metrics.csv, none if there is no file; a last row cut off by a kill is left out.

    Raises:
        DamagedFile: a row is not what was written, or one is missing between two others.
        OtherFormat: another version wrote the file.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_bytes().decode("ascii").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise DamagedFile(f"expected rows of a loss curve in {path}, found a damaged file") from error
    heading, *rows = [line.rstrip("\n").split(",") for line in lines if line.endswith("\n")] or [[]]
    if tuple(heading) == CURVE_COLUMNS:
        check_format(None, path)
    if tuple(heading) != _HEADING:
        raise DamagedFile(f"expected the columns {','.join(_HEADING)} in {path}, found others")
    checksum = _first_checksum(path)
    for row in rows:
        checksum = _checksum(row[:-1], checksum)
        if len(row) != len(_HEADING) or row[-1] != f"{checksum:08x}":
            raise DamagedFile(f"expected rows that match their checksums in {path}, found a damaged one")
    return [dict(zip(CURVE_COLUMNS, row[:-1], strict=True)) for row in rows]


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Writes a metrics.csv that begins with these rows; returns the checksum of the last, which the next goes on from."""
    checksum, lines = _first_checksum(path), [",".join(_HEADING)]
    for row in rows:
        values = [row[name] for name in CURVE_COLUMNS]
        checksum = _checksum(values, checksum)
        lines.append(",".join([*values, f"{checksum:08x}"]))
    write_text(path, "".join(line + "\n" for line in lines))
    return checksum


def append_row(path: Path, values: Iterable[object], checksum: int) -> int:
    """Adds a row to a metrics.csv whose last row has this `checksum`; returns that of the new one."""
    texts = [str(value) for value in values]
    checksum = _checksum(texts, checksum)
    with path.open("a") as file:
        csv.writer(file, lineterminator="\n").writerow([*texts, f"{checksum:08x}"])
    return checksum


def _first_checksum(path: Path) -> int:
    return zlib.crc32(address_of(path).encode())


def _checksum(values: Iterable[str], before: int) -> int:
    return zlib.crc32(",".join(values).encode(), before)
