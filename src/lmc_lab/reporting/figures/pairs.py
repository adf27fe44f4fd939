"""Linear mode connectivity of pairs beside the hull that generalises it."""

import pandas as pd
from matplotlib.figure import Figure

from lmc_lab.landscape.onset import STABLE_INSTABILITY
from lmc_lab.reporting.figures.axes import PROBABILITIES, Style, draw_against_split, legends, split_axis, task_columns
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_LEVELS = ("loss", "error")


def draw(rows: pd.DataFrame) -> Figure:
    """Returns `p_conv` (top) above barrier and instability of pairs in loss (middle) and in error (bottom)."""
    figure, columns = task_columns(rows, 3)
    for (top, loss, error), own in columns:
        for quantity, style in PROBABILITIES.items():
            draw_against_split(top, select(own, quantity, "train"), style)
        for axis, level in ((loss, "loss"), (error, "error")):
            draw_against_split(axis, select(own, f"barrier_{level}", "train"), Style("barrier", "C2", "^"))
            draw_against_split(axis, select(own, f"instability_{level}", "train"), Style("instability", "C3", "o"))
            draw_against_split(
                axis, select(own, f"instability_{level}", "test"), Style("instability, test", "C5", "s", "--")
            )
        if not select(own, "instability_error").empty:
            error.axhline(STABLE_INSTABILITY, color="grey", linestyle=":", label="2 % criterion")
        split_axis(error, select(own, "p_conv"))
    top, loss, error = columns[0][0]
    top.set_ylabel("probability of lower training loss\nthan the nearest endpoint")
    loss.set_ylabel("mean over pairs, loss")
    error.set_ylabel("mean over pairs, error")
    return legends(figure, columns)


FIGURE = ReportFigure(
    draw=draw,
    needs=("instability_loss",),
    also=(*PROBABILITIES, *(f"{name}_{level}" for name in ("barrier", "instability") for level in _LEVELS)),
    caption=(
        "Linear mode connectivity of pairs of endpoints (Frankle et al. 2020), beside the hull's probabilities. "
        "Intervals: bootstrap over endpoints."
    ),
)
