"""Parts of the training set that branches see: what the page, the figure for papers and the table share."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lmc_lab.reporting.palette import BLUE, GREY, RED
from lmc_lab.results.select import select


@dataclass(frozen=True)
class ExamplePart:
    """What a part is called, its colour, and whether it is a control of the other part in this colour."""

    label: str
    colour: str
    is_control: bool = False


ALL = ExamplePart("all examples", GREY)
PARTS: Mapping[str, ExamplePart] = {
    "shared": ExamplePart("right by all", BLUE),
    "unshared": ExamplePart("not right by all", RED),
    "random_shared": ExamplePart("as many as right by all, random", BLUE, is_control=True),
    "random_unshared": ExamplePart("as many as not right by all, random", RED, is_control=True),
}


def on_part(quantity: str, part: str, *, own: bool = False) -> str:
    """Returns what a quantity of branches that see a part is called in rows, `own`: of the loss on this part alone."""
    return f"{quantity}_on_{part}{'_own' if own else ''}"


def by_part(rows: pd.DataFrame, quantity: str, *, own: bool = False) -> dict[ExamplePart, pd.DataFrame]:
    """Returns the rows of a quantity for all examples, whose branches are plain, and for each part, on the training set."""
    of_all = {ALL: select(rows, quantity, "train")}
    return of_all | {part: select(rows, on_part(quantity, name, own=own), "train") for name, part in PARTS.items()}


def all_parts(*quantities: str, own: bool = False) -> tuple[str, ...]:
    """Returns what quantities are called for all parts."""
    return tuple(on_part(quantity, part, own=own) for quantity in quantities for part in PARTS)
