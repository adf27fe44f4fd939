"""Which examples make the barrier: those that not all endpoints have right, and those that were hard at the split."""

from math import inf

import pandas as pd

from lmc_lab.reporting.palette import BLUE, GREY, ORANGE, RED, split_colours
from lmc_lab.reporting.panel import Panel, Series, by_trunk, tasks_in, whole_numbers
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in

_PARTS = {
    "example_barrier_unshared": Series("not right by all", RED),
    "example_barrier": Series("all examples", GREY),
    "example_barrier_shared": Series("right by all", BLUE),
}
_SHARES = {
    "p_example_barrier": Series("share with a barrier above 0", ORANGE),
    "shared_share": Series("share right by all", BLUE),
}
_EL2N = {
    "el2n_unshared": Series("not right by all", RED),
    "el2n_shared": Series("right by all", BLUE),
}
_CORRELATION = "el2n_barrier_correlation"
_BY_EL2N = "example_barrier_by_el2n"


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns barriers and EL2N of parts of the examples, their correlation, and the barrier by EL2N."""
    panels = []
    for task, task_rows in tasks_in(rows):
        panels += [
            _against_split(
                f"{task}barrier of examples at midpoints", task_rows, _PARTS, "mean over examples and pairs"
            ),
            _against_split(f"{task}shares of the training set", task_rows, _SHARES, "share of examples", (0, 1)),
            _against_split(f"{task}EL2N at the split", task_rows, _EL2N, "mean over examples"),
            _against_split(
                f"{task}EL2N and barrier",
                task_rows,
                {_CORRELATION: Series("rank correlation", BLUE)},
                "over examples",
                (-1, 1),
            ),
            _by_el2n(f"{task}barrier by EL2N", select(task_rows, _BY_EL2N, "train")),
        ]
    return panels


def _against_split(
    title: str, rows: pd.DataFrame, series: dict[str, Series], y: str, within: tuple[float, float] = (-inf, inf)
) -> Panel:
    traces = [
        trace for name, style in series.items() for trace in by_trunk(select(rows, name, "train"), style, within=within)
    ]
    return Panel(title=title, traces=traces, x="split step k", y=y, steps=steps_in(rows))


def _by_el2n(title: str, rows: pd.DataFrame) -> Panel:
    traces = [
        trace
        for split, colour in split_colours(steps_in(rows)).items()
        for trace in by_trunk(rows[rows["split_step"].isin([split])], Series(f"k = {split}", colour), x="index")
    ]
    last = max((x for trace in traces for x in trace["x"] if x is not None), default=1)
    return Panel(
        title=title,
        traces=traces,
        x="tenth of the examples by EL2N",
        y="mean barrier of an example",
        layout={"xaxis": whole_numbers(last)},
    )


FIGURE = ReportFigure(
    draw=draw,
    needs=("example_barrier",),
    also=(*(name for name in (*_PARTS, *_SHARES, *_EL2N) if name != "example_barrier"), _CORRELATION, _BY_EL2N),
    caption=(
        "Which examples make the barrier. The loss of a training example at the midpoint of two endpoints less the mean of "
        "both ends, on average over pairs of endpoints: of examples that all endpoints of the mode have right, and of the "
        "others. EL2N is the norm of the error of the probabilities at W_k (Paul et al. 2021), here of one trunk. Intervals: "
        "95 %, of barriers a bootstrap over endpoints, of the rank correlation over examples, of EL2N t over examples."
    ),
)
