"""Which measure announces the onset? Each along the trunks, with the bracket of the onset marked."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.detectors import DETECTORS, UNUSUAL, along_trunks
from lmc_lab.reporting.figures.along_training import shade_onsets
from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_points, log_axis, step_axis
from lmc_lab.reporting.figures.layout import Panel, compose
from lmc_lab.reporting.palette import BLUE
from lmc_lab.reporting.report_figure import ReportFigure


def draw(rows: pd.DataFrame) -> Figure:
    """Returns a panel for each detector that was measured."""
    measured = [quantity for quantity in DETECTORS if not along_trunks(rows, quantity).empty]
    panels: list[Panel] = [partial(detector, quantity=quantity) for quantity in measured]
    return compose(rows, [panels[start : start + 2] for start in range(0, len(panels), 2)])


def detector(axis: Axes, rows: pd.DataFrame, marks: Marks, *, quantity: str) -> None:
    """Draws a detector along the trunks; shaded are the brackets of their onsets."""
    of_trunks = along_trunks(rows, quantity)
    draw_points(axis, "step", {Style("", BLUE): of_trunks}, marks)
    axis.set_ylabel(DETECTORS[quantity].name)
    if not axis.has_data():
        return
    shade_onsets(axis, rows, marks)
    step_axis(axis, set(of_trunks["step"]), "step of training")
    if DETECTORS[quantity].is_log:
        log_axis(axis)


FIGURE = ReportFigure(
    draw=draw,
    needs=UNUSUAL,
    also=(*(quantity for quantity in DETECTORS if quantity not in UNUSUAL), "onset_p_conv"),
    of_trunks=True,
    caption=(
        "Measures along the trunks that may announce the onset of p_conv, whose bracket is shaded, with the trunk's symbol at "
        "the top: from the last split that fails to the first from which on it holds; bars: 95 % intervals, of the Lyapunov "
        "exponent over directions, of the kernel velocity over examples. "
        f"{ABOUT_TRUNKS}"
    ),
)
