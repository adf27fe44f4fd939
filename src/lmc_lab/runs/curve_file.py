"""The loss curve of a run while it is trained."""

from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path

from lmc_lab.runs.curve import append_row, read_rows, write_rows


class CurveFile:
    """A metrics.csv that a stretch from `start` to `stop` adds to; rows of a killed run beyond its start are cut.

    A stretch that was trained before, only to save a state inside it, adds nothing.
    """

    def __init__(self, path: Path, *, start: int, stop: int) -> None:
        self._path = path
        rows = read_rows(path)
        self._covered = max((int(row["step"]) for row in rows), default=0)
        if stop > self._covered or stop < 0:
            self._covered = start
            rows = [row for row in rows if int(row["step"]) <= start]
            self._checksum = write_rows(path, rows)
        self._logged = [int(row["step"]) for row in rows]

    def add(self, row: Mapping[str, float]) -> bool:
        """Adds a row, unless it is there already; returns whether it did."""
        step = int(row["step"])
        if step <= self._covered:
            return False
        self._checksum = append_row(self._path, row.values(), self._checksum)
        self._logged.append(step)
        return True

    def num_rows(self, step: int) -> int:
        """Returns how many rows there are up to `step`, for those who look whether the curve is whole."""
        return bisect_right(self._logged, step)
