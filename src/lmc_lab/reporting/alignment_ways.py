"""Ways in which the neurons of several trunks' endpoints are aligned: what the page, figures, tables and cautions share."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lmc_lab.reporting.palette import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY
from lmc_lab.results.select import select


@dataclass(frozen=True)
class Way:
    """What a way is called, and its colour."""

    label: str
    colour: str


NONE = "none"
WAYS: Mapping[str, Way] = {
    NONE: Way("not aligned", GREY),
    "centres": Way("weights of centres", BLUE),
    "endpoints": Way("weights of each endpoint", SKY),
    "jointly": Way("weights of all jointly", GREEN),
    "activations": Way("activations of centres", ORANGE),
    "split": Way("weights at the split", PINK),
    "pairs": Way("weights of each pair alone", RED),
}

_WITHOUT_HULL = "pairs"  # has lines alone
_OF_LINES = ("barrier_loss", "distance")


def of_union(quantity: str, way: str) -> str:
    """Returns what a quantity of the endpoints of several trunks is called in rows, aligned in a way."""
    return f"{quantity}_union_{way}"


def by_way(rows: pd.DataFrame, quantity: str, subset: str | None = "train") -> dict[Way, pd.DataFrame]:
    """Returns the rows of a quantity for each way."""
    return {WAYS[name]: select(rows, of_union(quantity, name), subset) for name in _ways_of(quantity)}


def all_ways(*quantities: str) -> tuple[str, ...]:
    """Returns what quantities are called for all ways."""
    return tuple(of_union(quantity, way) for quantity in quantities for way in _ways_of(quantity))


def _ways_of(quantity: str) -> list[str]:
    return [way for way in WAYS if way != _WITHOUT_HULL or quantity in _OF_LINES]
