"""Does the tangent kernel settle? Its velocity and its distances along the trunks, and its distances between endpoints."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.along_training import mark_splits_and_onsets
from lmc_lab.reporting.figures.axes import (
    ABOUT_TRUNKS,
    Marks,
    Style,
    draw_against_split,
    draw_points,
    log_axis,
    step_axis,
)
from lmc_lab.reporting.figures.layout import Panel, compose, measured
from lmc_lab.reporting.kernel_distances import ALONG, BETWEEN, COLOURS, VELOCITY, WITHIN
from lmc_lab.reporting.onsets import BESIDE
from lmc_lab.reporting.palette import BLUE
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select


def draw(rows: pd.DataFrame) -> Figure:
    """Returns velocity and distances along the trunks, and distances between endpoints."""
    along: list[Panel] = [velocity, along_trunk]
    lines: dict[tuple[str, ...], list[Panel]] = {(VELOCITY, *ALONG): along, tuple(BETWEEN): [between_endpoints]}
    return compose(rows, measured(rows, lines))


def velocity(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the kernel's velocity along the trunks; splits and onsets are marked."""
    _along(axis, rows, marks, {Style("", BLUE): select(rows, VELOCITY, "train")})
    axis.set_ylabel("kernel velocity, per epoch")
    if axis.has_data():
        log_axis(axis)


def along_trunk(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the distances of the kernels of a trunk's states; splits and onsets are marked."""
    _along(axis, rows, marks, _series(rows, ALONG))
    axis.set_ylabel("kernel distance $S$")


def between_endpoints(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the distances of the kernels of endpoints against the split step."""
    draw_against_split(axis, _series(rows, BETWEEN), marks, within=WITHIN)
    axis.set_ylabel("kernel distance $S$")


def _along(axis: Axes, rows: pd.DataFrame, marks: Marks, series: Mapping[Style, pd.DataFrame]) -> None:
    draw_points(axis, "step", series, marks)
    if axis.has_data():
        mark_splits_and_onsets(axis, rows, marks)
        step_axis(
            axis, {step for trunk_rows in series.values() for step in trunk_rows["step"].dropna()}, "step of training"
        )


def _series(rows: pd.DataFrame, names: Mapping[str, str]) -> dict[Style, pd.DataFrame]:
    return {Style(words, COLOURS[name]): select(rows, name, "train") for name, words in names.items()}


_OF_ENDPOINTS = (
    "Last panel: means over pairs of endpoints of one hull, over endpoints to their W_k, and over pairs of endpoints of "
    "different trunks; bars: 95 % over endpoints."
)
FIGURE = ReportFigure(
    draw=draw,
    needs=(VELOCITY, "kernel_distance_endpoints"),
    also=(*ALONG, *(name for name in BETWEEN if name != "kernel_distance_endpoints"), *BESIDE),
    caption=(
        "The tangent kernel K = J J' on fixed training examples, summed over outputs. Two kernels are S = 1 - <K, K'> / "
        "(|K| |K'|) apart (Fort et al. 2020), which does not see their scale. Velocity: S from a state of the trunk to the one "
        "some steps later, over the epochs between; the steps are the same number everywhere. Beside it distances of these "
        "states to others. Dotted: splits k; shaded: between the last split that fails and the onset of p_conv; bars: 95 %, a "
        f"jackknife over examples. {_OF_ENDPOINTS} {ABOUT_TRUNKS}"
    ),
    only_with={_OF_ENDPOINTS: tuple(BETWEEN)},
)
