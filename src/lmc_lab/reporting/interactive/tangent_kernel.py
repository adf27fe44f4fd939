"""Does the tangent kernel settle? Its velocity and its distances along the trunks, and its distances between endpoints."""

from collections.abc import Mapping
from math import inf

import pandas as pd

from lmc_lab.reporting.kernel_distances import ALONG, BETWEEN, COLOURS, VELOCITY, WITHIN
from lmc_lab.reporting.onsets import BESIDE, onsets
from lmc_lab.reporting.palette import BLUE
from lmc_lab.reporting.panel import Panel, Series, Trace, by_trunk, log_axis, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, select_any, steps_in

_TRACE = "kernel_trace"


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns velocity, distances and trace along the trunks, and distances between endpoints."""
    panels = []
    for task, task_rows in tasks_in(rows):
        panels += [
            _along(
                f"{task}velocity of the tangent kernel",
                task_rows,
                {VELOCITY: "kernel velocity"},
                "S per epoch",
                log=True,
            ),
            _along(f"{task}distances of the kernels of the trunk's states", task_rows, ALONG, "S"),
            _between(f"{task}distances of the kernels of endpoints", task_rows),
            _along(
                f"{task}size of the tangent kernel",
                task_rows,
                {_TRACE: "trace over examples"},
                "mean |J(x)|^2",
                log=True,
            ),
        ]
    return panels


def _along(title: str, rows: pd.DataFrame, names: Mapping[str, str], label: str, *, log: bool = False) -> Panel:
    traces = _traces(rows, names, x="step")
    return Panel(
        title=title,
        traces=traces,
        x="step",
        y=label,
        steps=steps_in(select_any(rows, tuple(names)), "step"),
        spans=onsets(rows),
        lines=steps_in(rows),
        layout={"yaxis": log_axis(traces)} if log else None,
    )


def _between(title: str, rows: pd.DataFrame) -> Panel:
    traces = _traces(rows, BETWEEN, x="split_step", within=WITHIN)
    return Panel(title=title, traces=traces, x="split step k", y="S", steps=steps_in(rows), spans=onsets(rows))


def _traces(
    rows: pd.DataFrame, names: Mapping[str, str], *, x: str, within: tuple[float, float] = (0, inf)
) -> list[Trace]:
    return [
        trace
        for name, words in names.items()
        for trace in by_trunk(select(rows, name, "train"), Series(words, COLOURS.get(name, BLUE)), x=x, within=within)
    ]


FIGURE = ReportFigure(
    draw=draw,
    needs=(VELOCITY, "kernel_distance_endpoints"),
    also=(*ALONG, *(name for name in BETWEEN if name != "kernel_distance_endpoints"), _TRACE, *BESIDE),
    caption=(
        "The tangent kernel. K = J J' on fixed training examples, summed over outputs; two kernels are S = 1 - <K, K'> / "
        "(|K| |K'|) apart (Fort et al. 2020), which does not see their scale. Velocity: S from a state of the trunk to the one "
        "some steps later, over the epochs between; the steps are the same number everywhere. Dotted lines are splits, shaded "
        "is the bracket of the onset of p_conv. Intervals (95 %): along trunks a jackknife over examples, between endpoints a "
        "jackknife over endpoints, to W_k a t-interval over them."
    ),
)
