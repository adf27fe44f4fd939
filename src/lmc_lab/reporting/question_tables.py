"""Tables of the questions that the paper leaves open."""

import pandas as pd

from lmc_lab.results.select import select

_TERMS = {
    "bend": "gap_bend",
    "gain of averaging": "gap_averaging",
    "advantage of the nearest endpoint": "gap_corner",
    "above the nearest endpoint": "gap_excess",
    "share of points with a bend below 0": "p_bend_negative",
    "loss of the ensemble of outputs": "ensemble_loss",
    "of probabilities": "probabilities_loss",
}


def gap_terms_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the terms of the Jensen gap of each mode on the training set, with their intervals."""
    lines = []
    for (task, trunk, split), own in rows.groupby(["task", "trunk", "split_step"]):
        terms = select(own, "gap_bend", "train")
        if terms.empty:
            continue
        line = {
            "task": task,
            "trunk": trunk,
            "k": split,
            "P": terms["num_endpoints"].iloc[-1],
            "J": terms["num_samples"].iloc[-1],
        }
        lines.append(line | {heading: _cell(select(own, quantity, "train")) for heading, quantity in _TERMS.items()})
    return pd.DataFrame(lines)


def _cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    row = rows.iloc[-1]
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.3g}, {row['high']:.3g}]"
    return f"{row['value']:.3g}{interval}"
