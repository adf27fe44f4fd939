"""Figure 5: the functions at a hull's corners, their accuracy and their shared correct predictions."""

import pandas as pd

from lmc_lab.reporting.palette import BLUE, GREEN, GREY, ORANGE, PINK, RED
from lmc_lab.reporting.panel import Panel, Series, by_trunk, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in

_ACCURACIES = {
    "endpoint_accuracy": Series("endpoint", RED),
    "hull_point_accuracy": Series("hull point", BLUE),
    "centre_accuracy": Series("centre", PINK),
    "perturbation_accuracy": Series("perturbation", ORANGE),
}
_SHARES = {
    "endpoint_accuracy": Series("mean accuracy of endpoints", RED),
    "intra_mode": Series("right by all of a mode, |S_j|", BLUE),
    "inter_mode": Series("right by all of all modes, |S*|", GREEN),
    "equal_count_control": Series("as many, drawn from all modes", GREY, "dot"),
}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns accuracies on both sets, and the share of examples that endpoints have right in common."""
    panels = []
    for task, task_rows in tasks_in(rows):
        panels += [
            _panel(f"{task}accuracy, training set", task_rows, _ACCURACIES, "train"),
            _panel(f"{task}accuracy, test set", task_rows, _ACCURACIES, "test"),
            _panel(f"{task}right in common, training set", task_rows, _SHARES, "train"),
        ]
    return panels


def _panel(title: str, rows: pd.DataFrame, series: dict[str, Series], subset: str) -> Panel:
    traces = [
        trace for name, style in series.items() for trace in by_trunk(select(rows, name, subset), style, within=(0, 1))
    ]
    return Panel(
        title=title, traces=traces, x="split step k", y="share of examples", steps=steps_in(select(rows, "p_conv"))
    )


FIGURE = ReportFigure(
    draw=draw,
    needs=("endpoint_accuracy",),
    also=(*_ACCURACIES, *_SHARES, "p_conv"),
    caption=(
        "Figure 5: the functions in the hull. Accuracies, and the share of the training set that all endpoints of a mode, "
        "of all modes, and of as many endpoints drawn from all modes have right (with the range of 95 % of the draws)."
    ),
)
