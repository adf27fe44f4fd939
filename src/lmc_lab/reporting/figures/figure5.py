"""Figure 5: the functions at a hull's corners, their accuracy and their shared correct predictions."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_against_split
from lmc_lab.reporting.figures.layout import Panel, compose, measured
from lmc_lab.reporting.palette import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

SUBSETS = {"train": "training", "test": "test"}
_ACCURACIES = {
    "endpoint_accuracy": Style("endpoint", RED),
    "hull_point_accuracy": Style("hull point", BLUE),
    "centre_accuracy": Style("centre", PINK),
    "perturbation_accuracy": Style("perturbation", ORANGE, "--"),
}
_SHARES = {
    "endpoint_accuracy": Style("endpoint", RED),
    "intra_mode": Style("all of a mode, $|S_j|$", SKY),
    "inter_mode": Style("all of all modes, $|S^*|$", GREEN),
    "equal_count_control": Style("as many, from all modes", GREY, ":"),
}

_OF_ALL_TRUNKS = ("inter_mode", "equal_count_control")
_IN_COMMON = ("intra_mode", *_OF_ALL_TRUNKS)


def draw(rows: pd.DataFrame) -> Figure:
    """Returns Figure 5: accuracies, and the share of examples that endpoints have right in common."""
    accuracies: list[Panel] = [partial(accuracy, subset=subset) for subset in SUBSETS]
    lines = measured(rows, {tuple(_ACCURACIES): accuracies, _IN_COMMON: [right_in_common]})
    return compose(rows, [[panel for panels in lines for panel in panels]])


def accuracy(axis: Axes, rows: pd.DataFrame, marks: Marks, *, subset: str) -> None:
    """Draws the accuracies of endpoints, hull points, the centre and perturbations."""
    series = {style: select(rows, quantity, subset) for quantity, style in _ACCURACIES.items()}
    draw_against_split(axis, series, marks, within=(0, 1))
    axis.set_ylabel(f"accuracy, {SUBSETS[subset]} set")


def right_in_common(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the share of the training set that all endpoints of a mode, and of all modes, have right."""
    series = {style: select(rows, quantity, "train") for quantity, style in _SHARES.items()}
    draw_against_split(axis, series, marks, within=(0, 1))
    axis.set_ylabel("right by all, training set")


_OF_PERTURBATIONS = "Dashed: perturbations as long."
_OF_A_MODE = "Right: the share of the training set that all endpoints of a mode have right."
_OF_ALL_MODES = (
    "Beside it: that all of all modes, and (dotted) as many endpoints drawn from all modes have right; bars: the range of "
    "95 % of draws. Squares belong to all trunks."
)
FIGURE = ReportFigure(
    draw=draw,
    needs=("endpoint_accuracy",),
    also=(*_ACCURACIES, *_SHARES, "p_conv"),  # which gives a task without accuracy its column
    caption=(
        "Figure 5. Accuracies on both sets; bars: 95 % intervals (Student's t, cut at 0 and 1) over endpoints or over points "
        f"drawn of one hull. {_OF_PERTURBATIONS} {_OF_A_MODE} {_OF_ALL_MODES} {ABOUT_TRUNKS}"
    ),
    only_with={
        _OF_PERTURBATIONS: ("perturbation_accuracy",),
        _OF_A_MODE: _IN_COMMON,
        _OF_ALL_MODES: _OF_ALL_TRUNKS,
    },
)
