"""The onset of each trial of a sweep against the values of the task's keys."""

from collections.abc import Mapping
from math import ceil, isnan, log10

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lmc_lab.reporting.figures.style import ONE_COLUMN, PANEL_HEIGHT, TWO_COLUMNS
from lmc_lab.reporting.palette import BLUE, GREY, ORANGE

CAPTION = (
    "The bracket of the onset in each trial: from the last split that failed, or 0 where none did, to the first from which on "
    "all held (dot). A triangle at T: it held at no split. Orange: the outcome was not monotone."
)
_FEW = 6  # values of a key, up to which each has its tick
_PER_LINE = 3


def onset_by_key(onsets: pd.DataFrame, is_log: Mapping[str, bool]) -> Figure:
    """Returns a panel for each key, with a bracket for each trial and trunk.

    Args:
        onsets: a line for each; the keys' columns, `last_failed`, `first_held` (NaN: none), `reversals`, `num_steps`.
        is_log: of each key, whether its axis is logarithmic.
    """
    across = min(len(is_log), _PER_LINE)
    lines = -(-len(is_log) // _PER_LINE)
    size = (ONE_COLUMN if across == 1 else TWO_COLUMNS, PANEL_HEIGHT * lines)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.02, w_pad=0.02))
    for number, (key, logarithmic) in enumerate(is_log.items()):
        axis = figure.add_subplot(lines, across, number + 1)
        _draw(axis, onsets, key)
        if logarithmic:
            axis.set_xscale("log")
        axis.set_ylabel("split step k" if number % across == 0 else "")
    return figure


def _draw(axis: Axes, onsets: pd.DataFrame, key: str) -> None:
    values = pd.to_numeric(onsets[key], errors="coerce")
    if values.isna().any():
        labels = pd.Series(["null" if pd.isna(value) else str(value) for value in onsets[key]], index=onsets.index)
        names = sorted(labels.unique())
        values = labels.map(names.index)
        axis.set_xticks(range(len(names)), names)
    elif len(known := sorted(values.unique())) <= _FEW:
        axis.set_xticks(known, [f"{value:g}" for value in known])
    positive = onsets["first_held"][onsets["first_held"] > 0]
    first = float(positive.min()) if len(positive) else 1.0
    columns = ("last_failed", "first_held", "reversals", "num_steps")
    lines = zip(values.tolist(), *(onsets[name].astype(float).tolist() for name in columns), strict=True)
    for value, failed, held, reversals, last in lines:
        low, high = 0.0 if isnan(failed) else failed, last if isnan(held) else held
        colour = ORANGE if reversals else BLUE
        axis.plot([value, value], [low, high], color=colour, linewidth=0.7, alpha=0.7)
        mark, filling = ("^", "none") if isnan(held) else ("o", colour)
        axis.plot([value], [high], mark, color=colour, markerfacecolor=filling)
    largest = float(onsets["num_steps"].max())
    axis.axhline(largest, color=GREY, linestyle=":", linewidth=0.6)
    axis.set_yscale("symlog", linthresh=first, linscale=0.5)
    axis.set_yticks([0, *(10**power for power in range(ceil(log10(first)), int(log10(largest)) + 1))])
    axis.set_ylim(bottom=0)
    axis.set_xlabel(key)
