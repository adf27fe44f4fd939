"""Why a hull point is better: the terms of its Jensen gap against the split."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_against_split
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.hull_terms import TERMS, of_sum
from lmc_lab.reporting.report_figure import ReportFigure


def draw(rows: pd.DataFrame) -> Figure:
    """Returns the mean terms of each mode."""
    return compose(rows, [[gap_terms]])


def gap_terms(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the terms of a hull point's loss above that of its nearest endpoint, and their sum, on the training set."""
    series = {
        Style(term.label, term.colour, "--" if term.is_dashed else "-"): of_sum(rows, name)
        for name, term in TERMS.items()
    }
    draw_against_split(axis, series, marks)
    if axis.has_data():
        axis.axhline(0, color="grey", linewidth=0.5)
    axis.set_ylabel("loss, mean over hull points")


FIGURE = ReportFigure(
    draw=draw,
    needs=("gap_bend",),
    also=tuple(f"gap_{name}" for name in TERMS if name != "bend"),
    caption=(
        "Why a hull point is better. Its training loss less that of its nearest endpoint is the bend of the network, less "
        "what averaging outputs gains, and (dashed) how much better the nearest endpoint is than all on average; the "
        f"grey line is 0. Means over hull points; bars: their 95 % t intervals. {ABOUT_TRUNKS}"
    ),
)
