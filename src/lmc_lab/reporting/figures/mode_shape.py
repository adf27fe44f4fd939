"""What shape is a mode? Barriers from its centre, of its layers, and how far from linear features are over it."""

from math import inf

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_against_split
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.palette import BLUE, GREY, RED
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_STAR = {
    "star_barrier_loss": Style("centre to its own endpoints", BLUE),
    "star_rise_loss": Style("rise from these to the centre", BLUE, "--"),
    "barrier_loss": Style("between its own endpoints", GREY),
    "inter_star_barrier_loss": Style("centre to endpoints of other hulls", RED),
}


def draw(rows: pd.DataFrame) -> Figure:
    """Returns barriers against the split, and barriers and deviations of features by layer."""
    return compose(rows, [[star], [layer_barriers, feature_deviations]])


def star(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the mean barrier from the hull's centre to endpoints, and the rise to it, against the split step."""
    series = {style: select(rows, name, "train") for name, style in _STAR.items()}
    draw_against_split(axis, series, marks, within=(0, inf))
    if axis.has_data():
        axis.set_yscale("symlog", linthresh=1e-3)
        axis.set_ylim(bottom=0)  # which a barrier is at least
    axis.set_ylabel("height in loss")


def layer_barriers(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the barrier of each layer, averaged alone, in the colour of the split; dashed is the random control."""
    _beside_control(axis, rows, marks, "layer_barrier", "layer_barrier_random", linear_below=1e-4)
    axis.set_ylabel("barrier of one layer")


def feature_deviations(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws how far features of each layer are from linear at hull points; dashed is how far endpoints' are apart."""
    _beside_control(axis, rows, marks, "feature_deviation_hull", "feature_deviation_endpoints", linear_below=1e-6)
    axis.set_ylabel("1 - |cosine| of features")


def _beside_control(
    axis: Axes, rows: pd.DataFrame, marks: Marks, quantity: str, control: str, *, linear_below: float
) -> None:
    """Draws a quantity by layer, and dashed what it is compared with."""
    _by_layer(axis, select(rows, quantity, "train"), marks, "-")
    _by_layer(axis, select(rows, control, "train"), marks, "--")
    if axis.has_data():
        axis.set_yscale("symlog", linthresh=linear_below)


def _by_layer(axis: Axes, rows: pd.DataFrame, marks: Marks, line: str) -> None:
    for (split, trunk), mode_rows in rows.sort_values("index").groupby(["split_step", "trunk"]):
        axis.plot(mode_rows["index"], mode_rows["value"], line, marker=marks.symbol(trunk), color=marks.splits[split])
    axis.set_xlabel("layer")
    if line == "-":
        marks.name(axis, splits=rows["split_step"], trunks=rows["trunk"])
        axis.set_xticks(sorted({int(index) for index in rows["index"]}))


FIGURE = ReportFigure(
    draw=draw,
    needs=("star_barrier_loss", "layer_barrier", "feature_deviation_hull"),
    also=(
        "star_rise_loss",
        "barrier_loss",
        "inter_star_barrier_loss",
        "layer_barrier_random",
        "feature_deviation_endpoints",
    ),
    caption=(
        "The shape of a mode. Top: mean barrier in training loss, above the chord, from the hull's centre to its endpoints, "
        "between these, and to the endpoints of other hulls; dashed: the largest height between centre and endpoint above the "
        "endpoint itself; bars: 95 % intervals over endpoints. Left: barrier of pairs in which one layer "
        "alone is averaged; dashed, where it is moved as far in a random direction. Right: 1 - |cosine| of a layer's results "
        "at hull points and the mean of those of the endpoints; dashed, of two endpoints. Layers are numbered in the order of "
        "their parameters (left) and of their calls (right); the rows' settings have their names. "
        f"{ABOUT_TRUNKS}"
    ),
)
