"""Does neural collapse announce the hull? Its measures along training, and class means inside hulls."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.collapse_measures import MEASURES, along_training
from lmc_lab.reporting.figures.along_training import mark_splits_and_onsets
from lmc_lab.reporting.figures.axes import (
    ABOUT_TRUNKS,
    Marks,
    Style,
    draw_against_split,
    draw_points,
    log_axis,
    step_axis,
)
from lmc_lab.reporting.figures.layout import Panel, compose
from lmc_lab.reporting.onsets import BESIDE
from lmc_lab.reporting.palette import BLUE, ORANGE
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select


def draw(rows: pd.DataFrame) -> Figure:
    """Returns the measures along trunks and branches, and the bend of class means over hulls."""
    panels: list[Panel] = [partial(collapse, quantity=quantity) for quantity in MEASURES]
    panels.append(bend_of_class_means)
    return compose(rows, [panels[start : start + 2] for start in range(0, len(panels), 2)])


def collapse(axis: Axes, rows: pd.DataFrame, marks: Marks, *, quantity: str) -> None:
    """Draws a measure along the trunks, and along branches in the colour of their split; splits and onsets are marked."""
    measure = MEASURES[quantity]
    trunks, branches = along_training(rows, quantity)
    for (split, _, _), line in branches.sort_values("step").groupby(["split_step", "trunk", "branch"]):
        axis.plot(line["step"], line["value"], color=marks.splits[split], linewidth=0.5, alpha=0.6)
    draw_points(axis, "step", {Style("trunk", BLUE): trunks}, marks)
    axis.set_ylabel(measure.name)
    if not axis.has_data():
        return
    mark_splits_and_onsets(axis, rows, marks)
    step_axis(axis, {*trunks["step"], *branches["step"]}, "step of training")
    if measure.is_log:
        log_axis(axis)


def bend_of_class_means(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws how far class means in the hull are from linear in the parameters, against the split step."""
    draw_against_split(axis, {Style("hull points", ORANGE): select(rows, "class_mean_bend", "train")}, marks)
    if axis.has_data():
        log_axis(axis)
    axis.set_ylabel("bend of class means")


FIGURE = ReportFigure(
    draw=draw,
    needs=("nc1", "class_mean_bend"),
    also=(*(name for name in MEASURES if name != "nc1"), *BESIDE),
    caption=(
        "Neural collapse (Papyan, Han and Donoho 2020) of the features of the training set, along the trunks and, in the "
        "colour of their split k (dotted), along branches; all but the norm are 0 at complete collapse. Shaded: between the "
        "last split that fails and the onset of p_conv. Last panel: squared distance of class means at hull points from the "
        "mean of the endpoints' class means, over the spread of these; bars: 95 % t intervals over hull points. "
        f"{ABOUT_TRUNKS}"
    ),
)
