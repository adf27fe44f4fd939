"""Hulls of branches that differ in one kind of noise, and their mixtures: what the page, figures and tables share."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lmc_lab.reporting.palette import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY
from lmc_lab.results.select import select

ORDER = "order"
PLAIN = "plain"


@dataclass(frozen=True)
class Kind:
    """What a kind of noise is called, and its colour."""

    label: str
    colour: str


KINDS: Mapping[str, Kind] = {
    ORDER: Kind("order", BLUE),
    "augmentation": Kind("augmentation", GREEN),
    "dropout": Kind("dropout", ORANGE),
    "labels": Kind("wrong labels", RED),
    "rate": Kind("rate", PINK),
    PLAIN: Kind("order, augmentation, dropout", GREY),
}
_ALL = Kind("all kinds in turn", SKY)
_FIRST = (ORDER, PLAIN)  # of a mixture, the second where a task has no branches of the order alone
_OTHERS = tuple(kind for kind in KINDS if kind not in _FIRST)


def of_noise(quantity: str, hull: str) -> str:
    """Returns what a quantity of a hull is called in rows."""
    return f"{quantity}_noise_{hull}"


def by_kind(rows: pd.DataFrame, quantity: str, subset: str | None = "train") -> dict[Kind, pd.DataFrame]:
    """Returns the rows of a quantity for the hull of each kind."""
    return {kind: select(rows, of_noise(quantity, name), subset) for name, kind in KINDS.items()}


def by_mixture(rows: pd.DataFrame, quantity: str, subset: str | None = "train") -> dict[Kind, pd.DataFrame]:
    """Returns the rows of a quantity for the mixture of the order with each other kind, and for that of all kinds."""
    found = {
        KINDS[other]: pd.concat([select(rows, of_noise(quantity, f"{first}_and_{other}"), subset) for first in _FIRST])
        for other in _OTHERS
    }
    return found | {_ALL: select(rows, of_noise(quantity, "mixed"), subset)}


def of_all_kinds(*quantities: str) -> tuple[str, ...]:
    """Returns what quantities are called for the hull of each kind."""
    return tuple(of_noise(quantity, name) for quantity in quantities for name in KINDS)


def of_all_mixtures(*quantities: str) -> tuple[str, ...]:
    """Returns what quantities are called for all mixtures."""
    mixtures = [f"{first}_and_{other}" for first in _FIRST for other in _OTHERS] + ["mixed"]
    return tuple(of_noise(quantity, name) for quantity in quantities for name in mixtures)
