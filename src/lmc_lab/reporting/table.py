"""Rows as tables that fit a terminal and a page."""

import pandas as pd

_COLUMNS = {  # heading -> (quantity, subset)
    "p_conv": ("p_conv", "train"),
    "p_rand": ("p_rand", "train"),
    "loss endpoint": ("endpoint_loss", "train"),
    "hull point": ("hull_point_loss", "train"),
    "centre": ("centre_loss", "train"),
    "test acc. endpoint": ("endpoint_accuracy", "test"),
    "centre ": ("centre_accuracy", "test"),
    "hull radius": ("hull_radius", None),
}


def select(rows: pd.DataFrame, quantity: str, subset: str | None = None) -> pd.DataFrame:
    """Returns the rows of a quantity (on a subset of the examples)."""
    chosen = rows[rows["quantity"] == quantity]
    return chosen[chosen["subset"] == subset] if subset else chosen


def mode_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns one line a mode: trunk, k, P, J, and what Algorithm 1 found; probabilities with their intervals."""
    modes = rows[rows["quantity"] == "p_conv"].sort_values(["task", "trunk", "split_step"])
    lines = []
    for _, mode in modes[modes["subset"] == "train"].iterrows():
        same = rows[(rows["trunk"] == mode["trunk"]) & (rows["split_step"] == mode["split_step"])]
        line = {"task": mode["task"], "trunk": mode["trunk"], "k": mode["split_step"]}
        line |= {"P": mode["num_endpoints"], "J": mode["num_samples"]}
        lines.append(line | {heading: _cell(same, *what) for heading, what in _COLUMNS.items()})
    return pd.DataFrame(lines)


def _cell(rows: pd.DataFrame, quantity: str, subset: str | None) -> str:
    chosen = select(rows, quantity, subset)
    if chosen.empty:
        return ""
    row = chosen.iloc[-1]
    if quantity.startswith("p_"):
        return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['value']:.3g}" if abs(row["value"]) < 1e4 else f"{row['value']:.1e}"


def as_text(table: pd.DataFrame) -> str:
    """Returns the table for a terminal."""
    return table.to_string(index=False)
