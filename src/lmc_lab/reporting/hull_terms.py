"""The terms of a hull point's loss above that of its nearest endpoint: what the page and the figure for papers both show."""

from dataclasses import dataclass

import pandas as pd

from lmc_lab.reporting.palette import BLUE, GREEN, GREY, RED
from lmc_lab.results.select import select


@dataclass(frozen=True)
class Term:
    """How one term is called and drawn."""

    label: str
    colour: str
    is_dashed: bool = False


TERMS = {
    "bend": Term("bend of the network", RED),
    "averaging": Term("less: gain of averaging outputs", GREEN),
    "corner": Term("advantage of the nearest endpoint", GREY, is_dashed=True),
    "excess": Term("sum: above the nearest endpoint", BLUE),
}


def of_sum(rows: pd.DataFrame, name: str, kind: str = "gap") -> pd.DataFrame:
    """Returns the rows of a term on the training set as it enters the sum: what averaging gains is taken off.

    Args:
        rows: of one task.
        name: of the term.
        kind: ``gap`` for means over hull points, ``point`` for each of them.
    """
    chosen = select(rows, f"{kind}_{name}", "train")
    if name != "averaging":
        return chosen
    return chosen.assign(value=-chosen["value"], low=-chosen["high"], high=-chosen["low"])
