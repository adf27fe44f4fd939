"""Does neural collapse announce the hull? Its measures along training, and class means inside and between hulls."""

import pandas as pd

from lmc_lab.reporting.collapse_measures import MEASURES, along_training
from lmc_lab.reporting.onsets import BESIDE, onsets
from lmc_lab.reporting.palette import BLUE, GREEN, ORANGE, PINK, RED, split_colours
from lmc_lab.reporting.panel import Panel, Series, by_trunk, log_axis, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in

_BENDS = {"class_mean_bend": Series("hull points", ORANGE), "centre_class_mean_bend": Series("centre", PINK)}
_DIFFERENCES = {
    "class_cosine_difference_intra": Series("endpoints of one hull", GREEN),
    "class_cosine_difference_inter": Series("endpoints of hulls of different trunks", RED),
}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns each measure along trunks and branches, the bend of class means, and the differences of their angles."""
    panels = []
    for task, task_rows in tasks_in(rows):
        panels += [_along(task, task_rows, quantity) for quantity in MEASURES]
        panels += [
            _against_split(f"{task}bend of class means over the hull", task_rows, _BENDS, "relative squared distance"),
            _against_split(
                f"{task}differences of the cosines between classes", task_rows, _DIFFERENCES, "root mean square"
            ),
        ]
    return panels


def _along(task: str, rows: pd.DataFrame, quantity: str) -> Panel:
    measure, colours = MEASURES[quantity], split_colours(steps_in(rows))
    trunks, branches = along_training(rows, quantity)
    traces = by_trunk(trunks, Series("trunk", BLUE), x="step")
    for split, colour in colours.items():
        series = Series(f"branches from k = {split}", colour, "dot")
        traces += by_trunk(branches[branches["split_step"].isin([split])], series, x="step", group="branch")
    return Panel(
        title=f"{task}{measure.title}",
        traces=traces,
        x="step",
        y=measure.name,
        steps=steps_in(pd.concat([trunks, branches]), "step"),
        spans=onsets(rows),
        lines=steps_in(rows),
        layout={"yaxis": log_axis(traces)} if measure.is_log else None,
    )


def _against_split(title: str, rows: pd.DataFrame, series: dict[str, Series], label: str) -> Panel:
    traces = [trace for name, style in series.items() for trace in by_trunk(select(rows, name, "train"), style)]
    return Panel(
        title=title,
        traces=traces,
        x="split step k",
        y=label,
        steps=steps_in(rows),
        layout={"yaxis": log_axis(traces)} if label.startswith("relative") else None,
    )


FIGURE = ReportFigure(
    draw=draw,
    needs=("nc1", "class_mean_bend"),
    also=(
        *(name for name in MEASURES if name != "nc1"),
        *(name for name in _BENDS if name != "class_mean_bend"),
        *_DIFFERENCES,
        *BESIDE,
    ),
    caption=(
        "Neural collapse. How far the features of the training set are from one vector a class at the corners of a regular "
        "simplex (Papyan, Han and Donoho 2020), along trunks and, dotted, branches; all but the norm are 0 at complete "
        "collapse. Dotted lines are splits, shaded is the bracket of the onset of p_conv. Bend: squared distance of class "
        "means at hull points from the mean of the endpoints' class means, over the spread of these; intervals: 95 % over "
        "hull points (t). Differences: of the cosines between centred class means, which do not see the order of neurons; "
        "intervals: a jackknife over endpoints."
    ),
)
