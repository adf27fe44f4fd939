"""The folder of a task's results: each is a file of rows, some with tensors beside it."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lmc_lab.files import DamagedFile
from lmc_lab.results.row_file import Entry, empty_frame, read_rows


@dataclass(frozen=True)
class Result:
    """What one analysis found on one subject."""

    rows: pd.DataFrame
    entry: Entry
    records: Path | None = None  # tensors kept beside the rows


def read_result(path: Path) -> Result:
    """Returns the result whose rows are in `path`.

    Raises:
        DamagedFile: the rows, or the tensors beside them, are damaged or lost.
        OtherFormat: another version wrote it.
    """
    rows, entry = read_rows(path)
    if entry.records is None:
        return Result(rows, entry)
    records = records_of(path)
    try:
        digest = file_digest(records)
    except OSError as error:
        raise DamagedFile(f"expected {path.name} to have its tensors beside it: {error}") from error
    if digest != entry.records:
        raise DamagedFile(f"expected {records} to be what {path.name} was measured with, found other content")
    return Result(rows, entry, records)


def read_results(folder: Path, fingerprint: str | None = None) -> tuple[list[Result], list[DamagedFile]]:
    """Returns the results in a folder, only those of the task with this fingerprint if given, and why files are none."""
    found, damaged = [], []
    for path in sorted(folder.glob("*.parquet")):
        try:
            result = read_result(path)
        except FileNotFoundError:  # it was set aside meanwhile
            continue
        except DamagedFile as error:
            damaged.append(error)
        else:
            found += [result] if fingerprint in (None, result.entry.fingerprint) else []
    return found, damaged


def all_rows(results: Collection[Result]) -> pd.DataFrame:
    """Returns the rows of all results as one table."""
    frames = [result.rows for result in results if not result.rows.empty]
    return pd.concat(frames, ignore_index=True) if frames else empty_frame()


def records_of(path: Path) -> Path:
    """Returns where the tensors lie that are kept beside the rows in `path`."""
    return path.with_suffix(".safetensors")


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's content, by which rows know the tensors beside them."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
