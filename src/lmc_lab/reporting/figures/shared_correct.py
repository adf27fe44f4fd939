"""How many examples all of a number of endpoints have right."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmc_lab.reporting.figures.axes import legends, split_colours, task_columns
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_SUBSETS = ("train", "test")


def draw(rows: pd.DataFrame) -> Figure:
    """Returns |S_j| against the number of endpoints, training set (top) and test set (bottom), a line a split."""
    figure, columns = task_columns(rows, 2)
    colours = split_colours(select(rows, "shared_correct")["split_step"])
    for axes, own in columns:
        for axis, subset in zip(axes, _SUBSETS, strict=True):
            shares = select(own, "shared_correct", subset)
            for split, of_split in shares.groupby("split_step"):
                line = of_split.groupby("index")["value"].mean()
                axis.plot(line.index, line, ".-", color=colours[split], label=f"k = {split}")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[-1].set_xlabel("number of endpoints")
    for axis, subset in zip(columns[0][0], _SUBSETS, strict=True):
        axis.set_ylabel(f"share right by all, {subset}")
    return legends(figure, columns)


FIGURE = ReportFigure(
    draw=draw,
    needs=("shared_correct",),
    caption=("The share that all of a number of endpoints of a mode have right."),
)
