"""Linear mode connectivity of pairs beside the hull that generalises it."""

from functools import partial
from math import inf

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.landscape.onset import STABLE_INSTABILITY
from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_against_split
from lmc_lab.reporting.figures.figure2 import PROBABILITIES, p_conv
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.palette import GREEN, PINK, RED
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, select_any

LEVELS = ("loss", "error")
_SERIES = {
    ("barrier", "train"): Style("barrier", GREEN),
    ("instability", "train"): Style("instability", RED),
    ("instability", "test"): Style("instability, test", PINK, "--"),
}


def draw(rows: pd.DataFrame) -> Figure:
    """Returns `p_conv` beside barrier and instability of pairs in loss and, where it exists, in error."""
    levels = [level for level in LEVELS if not select_any(rows, _quantities(level)).empty]
    return compose(rows, [[p_conv, *(partial(pairs, level=level) for level in levels)]])


def _quantities(level: str) -> tuple[str, ...]:
    return tuple(f"{name}_{level}" for name in ("barrier", "instability"))


def pairs(axis: Axes, rows: pd.DataFrame, marks: Marks, *, level: str) -> None:
    """Draws barrier and instability of pairs of endpoints in loss or in error, neither of which is ever negative."""
    series = {style: select(rows, f"{name}_{level}", subset) for (name, subset), style in _SERIES.items()}
    draw_against_split(axis, series, marks, within=(0, inf))
    if level == "error" and axis.has_data():
        axis.axhline(STABLE_INSTABILITY, color="grey", linestyle=":", label="stable below 2 % of error")
    axis.set_ylabel(f"mean over pairs, {level}")


FIGURE = ReportFigure(
    draw=draw,
    needs=("instability_loss",),
    also=(*PROBABILITIES, *(name for level in LEVELS for name in _quantities(level))),
    caption=(
        "Linear mode connectivity of pairs of endpoints. Left: Figure 2, top, with 95 % Wilson intervals. Then the largest "
        "excess of the loss, or of the error, on the line between two endpoints over the chord (barrier) or over the mean of "
        "both ends (instability, dashed on the test set), and (dotted) the 2 % of error below which Frankle et al. (2020) "
        "call a network stable. Means over pairs; bars: 95 % intervals of a bootstrap over endpoints, which few endpoints make "
        f"too short. {ABOUT_TRUNKS}"
    ),
)
