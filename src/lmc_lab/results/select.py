"""Rows of some quantities."""

from collections.abc import Collection

import pandas as pd


def select(rows: pd.DataFrame, quantity: str, subset: str | None = None) -> pd.DataFrame:
    """Returns the rows of a quantity (on a subset of the examples)."""
    chosen = rows[rows["quantity"] == quantity]
    return chosen[chosen["subset"] == subset] if subset else chosen


def select_any(rows: pd.DataFrame, quantities: Collection[str]) -> pd.DataFrame:
    """Returns the rows of several quantities."""
    return rows[rows["quantity"].isin(list(quantities))]
