import pandas as pd


def select(rows: pd.DataFrame, quantity: str, subset: str | None = None) -> pd.DataFrame:
    """Returns the rows of a quantity (on a subset of the examples)."""
    chosen = rows[rows["quantity"] == quantity]
    return chosen[chosen["subset"] == subset] if subset else chosen
