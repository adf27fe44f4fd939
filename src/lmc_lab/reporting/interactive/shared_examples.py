"""Is the hull there since endpoints agree? Hulls of branches that see the examples all endpoints have right, or others."""

from math import inf

import pandas as pd

from lmc_lab.reporting.chosen_parts import PARTS, all_parts, by_part, on_part
from lmc_lab.reporting.panel import SHARE_AXIS, Panel, Series, Trace, by_trunk, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in

_OWN = {
    "p_conv": ("p_conv on the examples seen", "p_conv", (0.0, 1.0)),
    "p_jensen_negative": ("share of points below the chord, on the examples seen", "share of points", (0.0, 1.0)),
    "barrier_loss": ("barrier between endpoints, on the examples seen", "mean barrier in loss", (0.0, inf)),
}
_TRAIN = {
    "p_conv": ("p_conv on the training set", "p_conv", (0.0, 1.0)),
    "endpoint_accuracy": ("accuracy of endpoints on the training set", "accuracy", (0.0, 1.0)),
}
_PLAIN = {"p_conv_of_shared": "shared", "p_conv_of_unshared": "unshared"}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns p_conv, P(Jensen gap < 0), barriers and accuracies of the hulls of each part; of the plain one on both parts."""
    panels = []
    for task, task_rows in tasks_in(rows):
        panels += [_panel(task, task_rows, name, *what, own=True) for name, what in _OWN.items()]
        panels += [_panel(task, task_rows, name, *what, own=False) for name, what in _TRAIN.items()]
        traces = [
            trace
            for name, part in _PLAIN.items()
            for trace in by_trunk(select(task_rows, name, "train"), Series(PARTS[part].label, PARTS[part].colour))
        ]
        panels.append(
            _against_split(f"{task}p_conv of the plain hull on each part", "p_conv", traces, task_rows, most=1)
        )
    return panels


def _panel(
    task: str, rows: pd.DataFrame, quantity: str, title: str, label: str, within: tuple[float, float], *, own: bool
) -> Panel:
    traces = [
        trace
        for part, part_rows in by_part(rows, quantity, own=own).items()
        for trace in by_trunk(
            part_rows, Series(part.label, part.colour, "dot" if part.is_control else "solid"), within=within
        )
    ]
    return _against_split(f"{task}{title}", label, traces, rows, most=within[1])


def _against_split(title: str, label: str, traces: list[Trace], rows: pd.DataFrame, *, most: float) -> Panel:
    layout = {"yaxis": SHARE_AXIS} if most == 1 else None
    return Panel(title=title, traces=traces, x="split step k", y=label, steps=steps_in(rows), layout=layout)


_NEEDS = (on_part("p_conv", "shared", own=True), on_part("p_conv", "unshared", own=True))
FIGURE = ReportFigure(
    draw=draw,
    needs=_NEEDS,
    also=tuple(sorted({*_OWN, *_TRAIN, *_PLAIN, *all_parts(*_OWN, own=True), *all_parts(*_TRAIN)} - {*_NEEDS})),
    caption=(
        "Shared and unshared examples. Hulls of branches that see a part of the training set from W_k on: the examples that "
        "all endpoints of the plain branches have right (S_j), the others, and, dotted, as many drawn at random; grey are the "
        "plain branches, which see all. Measured on the examples that the branches saw, and on the training set; at last "
        "the plain hull on S_j and on the others alone. Intervals: 95 %, Wilson's over hull points, a bootstrap over endpoints "
        "for barriers, t over endpoints for accuracies."
    ),
)
