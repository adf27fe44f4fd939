"""Splits and onsets as figures along training mark them, on the page and on paper."""

import json
from typing import NamedTuple

import pandas as pd

from lmc_lab.results.select import select, select_any

_THRESHOLD = 0.9  # where the onset does not say another
BESIDE = ("p_conv", "onset_p_conv")  # of which splits and onsets are marked


def threshold_of(rows: pd.DataFrame) -> float:
    """Returns what `p_conv` must reach for a hull to count as convex, as the rows' `onset` has it."""
    settings = select(rows, "onset_p_conv", "train")["settings"].dropna()
    return float(json.loads(settings.iloc[-1]).get("threshold", _THRESHOLD)) if len(settings) else _THRESHOLD


def unmeasured(rows: pd.DataFrame, onset: str = "onset_p_conv") -> list[int]:
    """Returns the splits, in rows of a trunk, at which what an onset is of was not measured; it counts them as failed."""
    return sorted({int(step) for step in select(rows, f"{onset}_unmeasured")["value"]})


def trunk_curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the loss along trunks, in the order of steps: at W_0, if it was measured, and of each window."""
    of_trunks = rows[rows["split_step"].isna() & rows["branch"].isna()]
    return select_any(of_trunks, ("initial_loss", "train_loss")).sort_values(["trunk", "step"], kind="stable")


def loss_just_before(step: float, curve: pd.DataFrame) -> float:
    """Returns a trunk's training loss in the window that ends at a step or before it, else in the first one.

    Args:
        step: 0, or NaN, for the loss at W_0, which is that of the first window where it was not measured.
        curve: rows of `trunk_curves`, of one trunk, at least one.
    """
    if not step > 0:
        return float(curve["value"].iloc[0])
    windows = curve[curve["quantity"].eq("train_loss")]
    before = windows.loc[windows["step"] <= step, "value"]
    return float(before.iloc[-1] if len(before) else (windows if len(windows) else curve)["value"].iloc[0])


class Bracket(NamedTuple):
    """Between which splits an onset by `p_conv` lies, and in which trunks.

    Args:
        failed: the last split that fails.
        held: the first from which on it holds.
        trunks: their numbers.
    """

    failed: float
    held: float
    trunks: tuple[int, ...]


def onsets(rows: pd.DataFrame) -> list[Bracket]:
    """Returns the brackets of the trunks' onsets; where it holds from the first split on there is none."""
    brackets = select(rows, "onset_p_conv", "train").dropna(subset=["low", "high"])
    trunks: dict[tuple[float, float], set[int]] = {}
    for failed, held, trunk in brackets[["low", "high", "trunk"]].to_numpy(dtype=float).tolist():
        trunks.setdefault((failed, held), set()).add(int(trunk))
    return [Bracket(*ends, tuple(sorted(numbers))) for ends, numbers in sorted(trunks.items())]
