"""How many examples all of a number of endpoints have right."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmc_lab.reporting.figures.axes import Marks
from lmc_lab.reporting.figures.figure5 import SUBSETS
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select


def draw(rows: pd.DataFrame) -> Figure:
    """Returns |S_j| against the number of endpoints, training set (top) and test set (bottom), a line a hull."""
    return compose(rows, [[partial(shared_correct, subset=subset)] for subset in SUBSETS])


def shared_correct(axis: Axes, rows: pd.DataFrame, marks: Marks, *, subset: str) -> None:
    """Draws the share of examples that all of p endpoints of a mode have right, on average over which p, against p."""
    shares = select(rows, "shared_correct", subset).sort_values("index", kind="stable")
    for (split, trunk), mode_rows in shares.groupby(["split_step", "trunk"]):
        axis.plot(mode_rows["index"], mode_rows["value"], f"{marks.symbol(trunk)}-", color=marks.splits[split])
    marks.name(axis, splits=shares["split_step"], trunks=shares["trunk"])
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axis.set_xlabel("number of endpoints")
    axis.set_ylabel(f"share right by all,\n{SUBSETS[subset]} set")


FIGURE = ReportFigure(
    draw=draw,
    needs=("shared_correct",),
    caption=(
        "The share of examples that all of a number of endpoints of a mode have right. A line is one hull: its colour is the "
        "split k, its symbol the trunk."
    ),
)
