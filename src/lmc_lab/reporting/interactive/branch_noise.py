"""Other noise than the order of the data: hulls of branches that differ in one kind of noise, and of mixtures."""

from collections.abc import Callable
from math import inf

import pandas as pd

from lmc_lab.reporting.noise_kinds import Kind, by_kind, by_mixture, of_all_kinds, of_all_mixtures
from lmc_lab.reporting.panel import Panel, Series, by_trunk, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import steps_in

_Split = Callable[[pd.DataFrame, str, str | None], dict[Kind, pd.DataFrame]]  # of rows by kind

_ALONE = {
    "p_conv": ("p_conv of branches that differ in one kind of noise", "p_conv", "train", 1),
    "p_rand": ("p_rand of branches that differ in one kind of noise", "p_rand", "train", 1),
    "p_jensen_negative": ("hull points with a Jensen gap below 0, one kind of noise", "share of points", "train", 1),
    "hull_radius": ("radius of the hull, one kind of noise", "mean distance from the centre", None, inf),
    "endpoint_loss": ("loss of endpoints, one kind of noise", "mean loss", "train", inf),
    "centre_loss": ("loss at the hull's centre, one kind of noise", "loss", "train", inf),
}
_MIXED = {
    "p_conv": ("p_conv of mixtures, half of the order, half of another kind", "p_conv", "train", 1),
    "p_jensen_negative": ("hull points with a Jensen gap below 0, mixtures", "share of points", "train", 1),
    "endpoint_endpoint": ("distance between endpoints of different kinds", "mean distance", None, inf),
}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns a panel for each quantity of hulls of one kind, and of mixtures, in which the kinds are series."""
    panels = []
    for task, task_rows in tasks_in(rows):
        panels += _panels(task, task_rows, _ALONE, by_kind) + _panels(task, task_rows, _MIXED, by_mixture)
    return panels


def _panels(
    task: str, rows: pd.DataFrame, quantities: dict[str, tuple[str, str, str | None, float]], split: _Split
) -> list[Panel]:
    panels = []
    for quantity, (title, label, subset, most) in quantities.items():
        traces = [
            trace
            for kind, kind_rows in split(rows, quantity, subset).items()
            for trace in by_trunk(kind_rows, Series(kind.label, kind.colour), within=(0, most))
        ]
        panels.append(Panel(title=f"{task}{title}", traces=traces, x="split step k", y=label, steps=steps_in(rows)))
    return panels


FIGURE = ReportFigure(
    draw=draw,
    needs=of_all_kinds("p_conv"),
    also=(
        *of_all_kinds(*(quantity for quantity in _ALONE if quantity != "p_conv")),
        *of_all_mixtures(*_MIXED),
    ),
    caption=(
        "Other noise than the order of the data. Hulls of branches that follow their trunk but for one kind of noise: the "
        "order of its data, their augmentation, dropout, some wrong labels, another rate; of plain branches, which differ in "
        "order, augmentation and dropout, as far as the task has them; and of mixtures, half of whose endpoints differ from "
        "the trunk in the order and half in another kind, or in all kinds in turn. All hulls have equally many endpoints; "
        "points are judged on the labels as they are. Intervals: 95 %, of shares Wilson's over hull points, of means t over "
        "endpoints or points, of distances a jackknife over endpoints."
    ),
)
