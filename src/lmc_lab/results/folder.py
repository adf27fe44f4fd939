"""The folder of a task's results: each is a file of rows, some with tensors beside it."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import pandas as pd
import pyarrow as pa

from lmc_lab.files import DamagedFile
from lmc_lab.results.row_file import Entry, empty_frame, read_rows, read_table


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
    return Result(rows, entry, _records(path, entry))


def _records(path: Path, entry: Entry) -> Path | None:
    """Returns the file of tensors beside the rows in `path`, if there is to be one.

    Raises:
        DamagedFile: it is damaged or lost.
    """
    if entry.records is None:
        return None
    records = records_of(path)
    try:
        digest = file_digest(records)
    except OSError as error:
        raise DamagedFile(f"expected {path.name} to have its tensors beside it, found no {records.name}") from error
    if digest != entry.records:
        raise DamagedFile(f"expected {records} to be what {path.name} was measured with, found other content")
    return records


def read_results(folder: Path, fingerprint: str | None = None) -> tuple[list[Result], list[DamagedFile]]:
    """Returns the results in a folder, only those of the task with this fingerprint if given, and why files are none."""
    intact, damaged = [], []
    for path in sorted(folder.glob("*.parquet")):
        try:
            table, entry = read_table(path)
            read = table, entry, _records(path, entry)
        except FileNotFoundError:  # it was set aside meanwhile
            continue
        except DamagedFile as error:
            damaged.append(error)
        else:
            intact += [read] if fingerprint in (None, entry.fingerprint) else []
    frames = _frames([table for table, _, _ in intact])
    return [Result(rows, entry, records) for rows, (_, entry, records) in zip(frames, intact, strict=True)], damaged


def _frames(tables: Sequence[pa.Table]) -> list[pd.DataFrame]:
    """Returns tables as pandas has them, made at once, in a tenth of the time of one after another."""
    if not tables:
        return []
    whole, ends = pa.concat_tables(tables, promote_options="default").to_pandas(), [0, *accumulate(map(len, tables))]
    return [whole.iloc[start:end].reset_index(drop=True) for start, end in pairwise(ends)]


def all_rows(results: Collection[Result]) -> pd.DataFrame:
    """Returns the rows of all results as one table."""
    frames = [result.rows for result in results if not result.rows.empty]
    return _in_one_piece(pd.concat(frames, ignore_index=True)) if frames else empty_frame()


def _in_one_piece(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the same rows with each column in one piece of memory; a piece for each result slows whatever chooses rows."""
    return pa.Table.from_pandas(rows, preserve_index=False).combine_chunks().to_pandas()


def records_of(path: Path) -> Path:
    """Returns where the tensors lie that are kept beside the rows in `path`."""
    return path.with_suffix(".safetensors")


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's content, by which rows know the tensors beside them."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
