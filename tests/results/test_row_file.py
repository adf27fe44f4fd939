import numpy as np
import pandas as pd
import pytest

from entries import entry
from lmc_lab.files import DamagedFile, OtherFormat
from lmc_lab.results.part import Part
from lmc_lab.results.row_file import SCHEMA, read_rows, write_rows


@pytest.fixture
def rows():
    lines = [{"quantity": "p_conv", "value": value, "branch": branch} for value, branch in ((0.5, 1), (np.nan, None))]
    return pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)


def test_rows_and_entry_come_back(rows, tmp_path):
    path = tmp_path / "tiny-0" / "results" / "convex_mode-1.parquet"
    written = entry(
        subject=(Part(0, 20, (0, 1), ((2, 31),)), Part(1)), settings={"a": [1, None]}, config={"b": {"c": 1}}
    )
    write_rows(rows, written, path)
    found, read = read_rows(path)
    assert read == written
    pd.testing.assert_frame_equal(found, rows)
    pd.testing.assert_frame_equal(pd.read_parquet(path), rows)  # as anybody reads it


def test_every_damaged_byte_is_seen(rows, tmp_path):
    path = tmp_path / "rows.parquet"
    write_rows(rows, entry(), path)
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile):
            read_rows(path)
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFile):
            read_rows(path)
    path.write_bytes(content)
    read_rows(path)


@pytest.mark.parametrize(
    ("write", "found"),
    [
        (lambda path: path.write_text("no rows"), "found another kind of file"),
        (
            lambda path: pd.DataFrame({"a": [1.0]}).to_parquet(path),
            "that lmc_lab wrote, found other parquet",
        ),
    ],
)
def test_a_file_of_somebody_else_is_called_neither_damaged_nor_of_another_version(tmp_path, write, found):
    path = tmp_path / "rows.parquet"
    write(path)
    with pytest.raises(DamagedFile, match=found):
        read_rows(path)


def test_rows_of_another_format_are_no_damaged_ones(rows, tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    rows.to_parquet(path)
    with pytest.raises(OtherFormat, match="found format 1"):
        read_rows(path)
    monkeypatch.setattr("lmc_lab.results.row_file.FORMAT", 99)
    write_rows(rows, entry(), path)
    with pytest.raises(OtherFormat, match="found format 99"):
        read_rows(path)
