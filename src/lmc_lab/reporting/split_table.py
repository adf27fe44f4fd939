"""Tables with a line, or some, for each split: how they are made of rows, and what is written into a cell."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lmc_lab.results.select import select

_MODE = ("task", "trunk", "split_step")  # what a line is of
TRUNKS = ("task", "split_step")  # the same of modes of several trunks
_HEADINGS = {"task": "task", "trunk": "trunk", "split_step": "k"}

Line = dict[str, Any]


@dataclass(frozen=True)
class SplitRows:
    """Rows that lines of a split are made of.

    Args:
        own: of its mode, or of the modes of several trunks.
        all: of every subject.
        where: its task, its trunk where there is one, and its step.
    """

    own: pd.DataFrame
    all: pd.DataFrame
    where: dict[str, Any]

    def at_split(self) -> pd.DataFrame:
        """Returns the rows of W_k."""
        is_at_split = self.all["split_step"].isna() & self.all["step"].isin([self.where["split_step"]])
        return self.all[is_at_split & self._has("task") & self._has("trunk")]

    def of_trunks(self) -> pd.DataFrame:
        """Returns the rows of several trunks at the same step."""
        return self.all[self.all["trunk"].isna() & self._has("task") & self._has("split_step")]

    def _has(self, column: str) -> pd.Series:
        return self.all[column].isin([self.where[column]])


def split_table(
    rows: pd.DataFrame, lines: Callable[[SplitRows], Iterator[Line]], keys: tuple[str, ...] = _MODE
) -> pd.DataFrame:
    """Returns the lines of each split, after what they are of."""
    return pd.DataFrame(
        {_HEADINGS[key]: value for key, value in where.items()} | line
        for names, split_rows in rows.groupby(list(keys))
        for where in [dict(zip(keys, names, strict=True))]
        for line in lines(SplitRows(split_rows, rows, where))
    )


def cells(rows: pd.DataFrame, quantities: Mapping[str, str], *, subset: str | None = "train") -> Line:
    """Returns a cell for each quantity."""
    return {heading: cell(select(rows, quantity, subset)) for heading, quantity in quantities.items()}


def cells_of(kind: Any, by_heading: Mapping[str, Mapping[Any, pd.DataFrame]]) -> Line:
    """Returns a cell for each quantity that was found of kinds; empty where it is not there for `kind`."""
    return {heading: cell(rows[kind]) if kind in rows else "" for heading, rows in by_heading.items()}


def range_cell(rows: pd.DataFrame) -> str:
    """Returns the mean over branches at their last step, with the smallest and the largest."""
    if rows.empty:
        return ""
    last = rows[rows["step"].isna() | rows["step"].eq(rows["step"].max())]["value"]
    return f"{last.mean():.3g} ({last.min():.3g} to {last.max():.3g})"


def cell(rows: pd.DataFrame) -> str:
    """Returns the last value with its interval, if it has one; nothing of no rows."""
    if rows.empty:
        return ""
    row = rows.iloc[-1]
    ends = [_end(row["low"]), _end(row["high"])]
    return f"{row['value']:.3g}" + (f" [{', '.join(ends)}]" if any(ends) else "")


def _end(value: float) -> str:
    """Returns an end of an interval; nothing where it is open."""
    return "" if pd.isna(value) else f"{value:.3g}"


def counts(rows: pd.DataFrame) -> dict[str, Any]:
    """Returns how many endpoints and hull points rows of a mode rest on."""
    return {"P": rows["num_endpoints"].iloc[-1], "J": rows["num_samples"].iloc[-1]}
