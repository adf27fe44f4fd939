"""Is the hull there since endpoints agree? Hulls of branches that see the examples all endpoints have right, or others."""

from math import inf

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.chosen_parts import all_parts, by_part, on_part
from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_against_split
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.report_figure import ReportFigure

_ON_TRAIN = ("p_conv", "endpoint_accuracy")
_ON_OWN = ("p_conv", "barrier_loss")


def draw(rows: pd.DataFrame) -> Figure:
    """Returns p_conv, accuracy and barriers of the hulls of each part."""
    return compose(rows, [[part_p_conv_own, part_p_conv], [part_barriers, part_accuracy]])


def part_p_conv_own(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws `p_conv` of the loss on the examples that branches saw, against the split step."""
    _draw(axis, rows, marks, "p_conv", own=True, most=1)
    axis.set_ylabel("$p_{conv}$, examples seen")


def part_p_conv(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws `p_conv` of the loss on the training set, against the split step."""
    _draw(axis, rows, marks, "p_conv", own=False, most=1)
    axis.set_ylabel("$p_{conv}$, training set")


def part_barriers(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the mean barrier between endpoints in the loss on the examples that they saw, against the split step."""
    _draw(axis, rows, marks, "barrier_loss", own=True, most=inf)
    if axis.has_data():
        axis.set_yscale("symlog", linthresh=1e-3)
    axis.set_ylabel("barrier, examples seen")


def part_accuracy(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the mean accuracy of endpoints on the training set, against the split step."""
    _draw(axis, rows, marks, "endpoint_accuracy", own=False, most=1)
    axis.set_ylabel("accuracy, training set")


def _draw(axis: Axes, rows: pd.DataFrame, marks: Marks, quantity: str, *, own: bool, most: float) -> None:
    series = {
        Style(part.label, part.colour, "--" if part.is_control else "-"): part_rows
        for part, part_rows in by_part(rows, quantity, own=own).items()
    }
    draw_against_split(axis, series, marks, within=(0, most), apart=2)
    if axis.has_data():
        axis.set_ylim(bottom=0)


_NEEDS = (on_part("p_conv", "shared", own=True), on_part("p_conv", "unshared", own=True))
FIGURE = ReportFigure(
    draw=draw,
    needs=_NEEDS,
    also=tuple(sorted({*_ON_TRAIN, *_ON_OWN, *all_parts(*_ON_TRAIN), *all_parts(*_ON_OWN, own=True)} - {*_NEEDS})),
    caption=(
        "Hulls of branches that see a part of the training set from W_k on: the examples that all endpoints of the plain "
        "branches have right (S_j), the others, and (dashed) as many drawn at random; grey are the plain branches. Left: "
        "p_conv, and the mean barrier in loss between endpoints, on the examples that the branches saw. Right: p_conv and the "
        "endpoints' accuracy on the training set. Bars: 95 %, Wilson's over hull points, a bootstrap over endpoints, t "
        f"over endpoints. {ABOUT_TRUNKS}"
    ),
)
