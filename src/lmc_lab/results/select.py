"""Rows of some quantities."""

from collections.abc import Collection

import pandas as pd


def select(rows: pd.DataFrame, quantity: str, subset: str | None = None) -> pd.DataFrame:
    """Returns the rows of a quantity (on a subset of the examples)."""
    is_chosen = rows["quantity"].eq(quantity)
    return rows[is_chosen & rows["subset"].eq(subset).fillna(False) if subset else is_chosen]


def select_any(rows: pd.DataFrame, quantities: Collection[str]) -> pd.DataFrame:
    """Returns the rows of several quantities."""
    return rows[rows["quantity"].isin(list(quantities))]


def steps_in(rows: pd.DataFrame, column: str = "split_step") -> list[int]:
    """Returns the steps in a column, in order."""
    return sorted({int(step) for step in rows[column].dropna()})


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows in an order that follows from them, whichever they came in."""
    return rows.sort_values(list(rows.columns), ignore_index=True)
