"""Does chaos end at the onset? How fast differences of weights grow along training."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.along_training import mark_splits_and_onsets
from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_points, step_axis
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.onsets import BESIDE
from lmc_lab.reporting.palette import BLUE, GREY
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_RATES = {
    "lyapunov_exponent": "Lyapunov exponent",
    "difference_growth": "growth of differences",
}


def draw(rows: pd.DataFrame) -> Figure:
    """Returns the rates at which differences grow along the trunks."""
    return compose(rows, [[partial(growth, quantity=quantity) for quantity in _RATES]])


def growth(axis: Axes, rows: pd.DataFrame, marks: Marks, *, quantity: str = "lyapunov_exponent") -> None:
    """Draws a rate at which differences grow against the step at which its window begins; splits and onsets are marked."""
    own = select(rows, quantity)
    draw_points(axis, "step", {Style("trunk", BLUE): own}, marks)
    axis.set_ylabel(_RATES[quantity])
    if not axis.has_data():
        return
    mark_splits_and_onsets(axis, rows, marks)
    axis.axhline(0, color=GREY, linewidth=0.7, zorder=0)
    step_axis(axis, set(own["step"]), "step of training")


FIGURE = ReportFigure(
    draw=draw,
    needs=("lyapunov_exponent",),
    also=(*(name for name in _RATES if name != "lyapunov_exponent"), *BESIDE),
    caption=(
        "Chaos of training: the mean log of the factor by which small differences grow in a step, in windows of the trunk "
        "that begin at these steps. The Lyapunov exponent is that of weights and momentum over the second half of a window, "
        "after the differences have turned towards what grows fastest; above 0 training is chaotic there. Beside it random "
        "differences of weights, over the whole window. Dotted: splits k; shaded: between the last split that fails and the "
        "onset of p_conv. Bars: 95 % t intervals over random directions. "
        f"{ABOUT_TRUNKS}"
    ),
)
