"""One file of rows: parquet that says itself what its rows are, and whether it is whole."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from lmc_lab.files import FORMAT, DamagedFile, check_format, replacing
from lmc_lab.results.part import Part

SCHEMA = {
    "task": "string",
    "fingerprint": "string",
    "trunk": "Int64",
    "split_step": "Int64",
    "branch": "Int64",
    "step": "Int64",
    "index": "Int64",
    "analysis": "string",
    "quantity": "string",
    "subset": "string",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "num_samples": "Int64",
    "num_endpoints": "Int64",
    "bn_policy": "string",
    "settings": "string",
}

_ENTRY = b"lmc_lab"  # the entry's key in the file's metadata
_PARQUET = b"PAR1"  # at both ends
_COLUMN = b"quantity"  # which rows have since the first format
_SEAL = b"lmc_lab.seal:"  # before the SHA-256 of the whole file with zeros in its place
_DIGITS = hashlib.sha256().digest_size * 2


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a file of rows says of itself."""

    analysis: str
    version: int  # of the analysis
    settings: Mapping[str, Any]  # that are not the defaults
    subject: tuple[Part, ...]
    fingerprint: str  # of the task
    records: str | None  # the digest of the file of tensors beside the rows
    left_out: tuple[str, ...] = ()  # of the answer, and why
    created: int  # nanoseconds since 1970
    seconds: float  # that it took
    command: str
    versions: Mapping[str, str]
    config: Mapping[str, Any]
    machine: str = ""  # its processor

    def to_plain(self) -> dict[str, Any]:
        """Returns the entry as JSON holds it."""
        return asdict(self)

    @classmethod
    def of_plain(cls, content: Mapping[str, Any]) -> "Entry":
        """Returns the entry that JSON holds."""
        subject, left_out = tuple(map(Part.of_plain, content["subject"])), tuple(content.get("left_out", ()))
        return cls(**{**content, "subject": subject, "left_out": left_out})


def write_rows(rows: pd.DataFrame, entry: Entry, path: Path) -> None:
    """Writes `rows` and what they are to `path` in one atomic step."""
    write_sealed(rows, entry.to_plain() | {"place": path.name}, path)


def write_sealed(rows: pd.DataFrame, content: Mapping[str, Any], path: Path) -> None:
    """Writes `rows`, with what JSON holds, to `path` in one atomic step."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    metadata = {_ENTRY: json.dumps({**content, "format": FORMAT}).encode(), b"seal": _SEAL + b"0" * _DIGITS}
    buffer = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata}), buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(_sealed(buffer.getvalue()))


def read_rows(path: Path) -> tuple[pd.DataFrame, Entry]:
    """Returns what `write_rows` wrote; errors as of `read_table`."""
    table, entry = read_table(path)
    return table.to_pandas(), entry


def read_table(path: Path) -> tuple[pa.Table, Entry]:
    """Returns what `write_rows` wrote, not yet as pandas has it, whose making takes most of the time of a small file.

    Raises:
        DamagedFile: it is something else, or another result under this one's name.
        OtherFormat: another version wrote it.
        FileNotFoundError: there is none.
    """
    table, entry = _read(path)
    if (name := entry.pop("place", None)) != path.name:
        raise DamagedFile(f"expected {path} to be {path.name}, found that it is {name or 'no result'}")
    return table, Entry.of_plain(entry)


def read_sealed(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns what `write_sealed` wrote.

    Raises:
        DamagedFile: it is something else.
        OtherFormat: another version wrote it.
        FileNotFoundError: there is none.
    """
    table, content = _read(path)
    return table.to_pandas(), content


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Returns rows and entry of a file; no parser sees a byte of it before the seal over all of them was compared."""
    content = path.read_bytes()
    if content and not content.startswith(_PARQUET) and _SEAL not in content:
        raise DamagedFile(f"expected {path} to be a parquet file of rows, found another kind of file")
    if _is_parquet_without_entry(content):
        if _COLUMN not in content:
            raise DamagedFile(f"expected {path} to have rows that lmc_lab wrote, found other parquet")
        check_format(None, path)
    if _SEAL not in content or content != _sealed(content):
        raise DamagedFile(f"expected {path} to match its own checksum, found other content")
    table = parquet.ParquetFile(pa.BufferReader(content)).read(use_threads=False)  # of files as small as these
    stored: dict[str, Any] = json.loads(table.schema.metadata[_ENTRY])
    check_format(stored.pop("format"), path)
    return table, stored


def empty_frame() -> pd.DataFrame:
    """Returns a table with the schema's columns and no rows."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SCHEMA.items()})


def _sealed(content: bytes) -> bytes:
    start = content.rfind(_SEAL) + len(_SEAL)
    before, after = content[:start], content[start + _DIGITS :]
    return before + hashlib.sha256(before + b"0" * _DIGITS + after).hexdigest().encode() + after


def _is_parquet_without_entry(content: bytes) -> bool:
    """Returns whether this looks like the rows of the first format, which named the package nowhere."""
    return len(content) > 8 and content.endswith(_PARQUET) and _ENTRY not in content
