"""Which examples make the barrier: those that not all endpoints have right, and those that were hard at the split."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_against_split
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.palette import BLUE, GREY, RED
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_PARTS = {
    "example_barrier_unshared": Style("not right by all", RED),
    "example_barrier": Style("all examples", GREY),
    "example_barrier_shared": Style("right by all", BLUE),
}


def draw(rows: pd.DataFrame) -> Figure:
    """Returns barriers of parts of the examples, their correlation with EL2N, and the barrier by EL2N."""
    return compose(rows, [[example_barriers], [el2n_correlation, barrier_by_el2n]])


def example_barriers(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the mean barrier of examples that all endpoints have right, and of the others, against the split step."""
    draw_against_split(axis, {style: select(rows, name, "train") for name, style in _PARTS.items()}, marks)
    _with_zero(axis)
    if axis.has_data():
        axis.set_yscale("symlog", linthresh=1e-2)
    axis.set_ylabel("barrier of an example")


def el2n_correlation(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the rank correlation of EL2N at the split with the barrier, over examples, against the split step."""
    series = {Style("", BLUE): select(rows, "el2n_barrier_correlation", "train")}
    draw_against_split(axis, series, marks, within=(-1, 1))
    _with_zero(axis)
    axis.set_ylabel("rank correlation\nof EL2N and barrier")


def barrier_by_el2n(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the mean barrier of each tenth of the examples by EL2N, in the colour of the split."""
    barriers = select(rows, "example_barrier_by_el2n", "train").sort_values("index", kind="stable")
    for (split, trunk), mode_rows in barriers.groupby(["split_step", "trunk"]):
        axis.plot(mode_rows["index"], mode_rows["value"], marker=marks.symbol(trunk), color=marks.splits[split])
    marks.name(axis, splits=barriers["split_step"], trunks=barriers["trunk"])
    _with_zero(axis)
    axis.set_xlabel("tenth of the examples by EL2N")
    axis.set_ylabel("barrier of an example")


def _with_zero(axis: Axes) -> None:
    if axis.has_data():
        axis.axhline(0, color=GREY, linewidth=0.5, zorder=0)


FIGURE = ReportFigure(
    draw=draw,
    needs=("example_barrier",),
    also=(
        *(name for name in _PARTS if name != "example_barrier"),
        "el2n_barrier_correlation",
        "example_barrier_by_el2n",
    ),
    caption=(
        "Which examples make the barrier. Top: the loss of a training example at the midpoint of two endpoints less the mean "
        "of both ends, on average over pairs and over examples that all endpoints of the mode have right, or that not all "
        "have; bars: 95 % bootstrap intervals over endpoints. Left: rank correlation over examples of this barrier with EL2N "
        "at W_k, the norm of the error of the probabilities (Paul et al. 2021); bars: 95 % bootstrap intervals over examples. "
        f"Right: the barrier of each tenth of the examples by EL2N. The grey line is 0. {ABOUT_TRUNKS}"
    ),
)
