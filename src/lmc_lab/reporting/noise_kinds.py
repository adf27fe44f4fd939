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
    PLAIN: Kind("plain branches", GREY),
}
_ALL = Kind("all kinds in turn", SKY)
_MIXED = {f"{ORDER}_and_{name}": kind for name, kind in KINDS.items() if name not in (ORDER, PLAIN)} | {"mixed": _ALL}


def of_noise(quantity: str, hull: str) -> str:
    """Returns what a quantity of a hull is called in rows."""
    return f"{quantity}_noise_{hull}"


def by_kind(rows: pd.DataFrame, quantity: str, subset: str | None = "train") -> dict[Kind, pd.DataFrame]:
    """Returns the rows of a quantity for the hull of each kind."""
    return {kind: select(rows, of_noise(quantity, name), subset) for name, kind in KINDS.items()}


def by_mixture(rows: pd.DataFrame, quantity: str, subset: str | None = "train") -> dict[Kind, pd.DataFrame]:
    """Returns the rows of a quantity for the mixture of the order with each other kind, and for that of all kinds."""
    return {kind: select(rows, of_noise(quantity, name), subset) for name, kind in _MIXED.items()}


def of_all_kinds(*quantities: str) -> tuple[str, ...]:
    """Returns what quantities are called for the hull of each kind."""
    return tuple(of_noise(quantity, name) for quantity in quantities for name in KINDS)


def of_all_mixtures(*quantities: str) -> tuple[str, ...]:
    """Returns what quantities are called for all mixtures."""
    return tuple(of_noise(quantity, name) for quantity in quantities for name in _MIXED)
