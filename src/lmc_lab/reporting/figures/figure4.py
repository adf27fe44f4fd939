"""Figure 4: what the curvature and convexity between updates show along training."""

from collections.abc import Mapping
from math import inf
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_points, step_axis
from lmc_lab.reporting.figures.layout import Panel, compose, measured
from lmc_lab.reporting.palette import BLUE, GREEN, GREY, RED
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, select_any

_CURVATURE = {
    "lambda_max": Style(r"$\lambda_{\mathrm{max}}$", RED),
    "lambda_min": Style(r"$\lambda_{\mathrm{min}}$", BLUE),
}
_RATIO = {"hessian_ratio": Style("", GREEN)}
_GAPS = {
    "p_gap_negative": Style("P(g < 0)", RED),
    "p_gap_resolved": Style("P(|g| above rounding)", GREY, ":"),
}
_RATIO_LABEL = r"$\lambda_{\mathrm{min}}\,/\,\lambda_{\mathrm{max}}$"
_CHECKPOINT = ["trunk", "split_step", "branch", "step"]


def draw(rows: pd.DataFrame) -> Figure:
    """Returns Figure 4: the ends of the Hessian's spectrum, their ratio, and P(g < 0), along trunks and branches."""
    lines: dict[tuple[str, ...], list[Panel]] = {
        tuple(_CURVATURE): [eigenvalues, eigenvalues_of_branches],
        tuple(_RATIO): [hessian_ratio, ratio_of_branches],
        tuple(_GAPS): [p_gap_negative],
    }
    return compose(rows, measured(rows, lines))


def eigenvalues(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the ends of the Hessian's spectrum along the trunks."""
    axis.set_yscale("symlog", linthresh=0.1)
    _draw_along_trunks(axis, rows, _CURVATURE, marks)
    axis.set_ylabel("eigenvalue")


def eigenvalues_of_branches(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the ends of the Hessian's spectrum along branches, to their endpoints."""
    axis.set_yscale("symlog", linthresh=0.1)
    _draw_along_branches(axis, rows, _CURVATURE, marks)
    axis.set_ylabel("eigenvalue")


def hessian_ratio(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the ratio of the spectrum's ends along the trunks."""
    _draw_along_trunks(axis, rows, _RATIO, marks)
    axis.set_ylabel(_RATIO_LABEL)


def ratio_of_branches(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the ratio of the spectrum's ends along branches, to their endpoints."""
    _draw_along_branches(axis, rows, _RATIO, marks)
    axis.set_ylabel(_RATIO_LABEL)


def p_gap_negative(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws how probable it is that the loss is convex between two updates (Appendix B), along the trunks."""
    _draw_along_trunks(axis, rows, _GAPS, marks, within=(0, 1))
    axis.set_ylim(-0.05, 1.05)
    axis.set_ylabel("P(convex between\ntwo updates)")


def _draw_along_trunks(
    axis: Axes,
    rows: pd.DataFrame,
    styles: Mapping[str, Style],
    marks: Marks,
    *,
    within: tuple[float, float] = (-inf, inf),
) -> None:
    trunks = rows[rows["split_step"].isna()]
    draw_points(axis, "step", {style: select(trunks, name) for name, style in styles.items()}, marks, within=within)
    _finish(axis, trunks, styles, "step of the trunk")


def _draw_along_branches(axis: Axes, rows: pd.DataFrame, styles: Mapping[str, Style], marks: Marks) -> None:
    """Draws quantities along each branch, in the colour of its split, with the symbol of its trunk."""
    branches = rows[rows["split_step"].notna()]
    of_branches = select_any(branches, styles).sort_values("step", kind="stable")
    for (split, trunk, _, _), branch_rows in of_branches.groupby(["split_step", "trunk", "branch", "quantity"]):
        axis.plot(branch_rows["step"], branch_rows["value"], f"{marks.symbol(trunk)}-", color=marks.splits[split])
    marks.name(axis, splits=of_branches["split_step"], trunks=of_branches["trunk"])
    _finish(axis, branches, styles, "step of the branch")


def _finish(axis: Axes, rows: pd.DataFrame, styles: Mapping[str, Style], label: str) -> None:
    """Rings what has not converged, marks zero, and labels each step that was measured."""
    drawn = select_any(rows, styles)
    for name in styles:
        _ring(axis, rows, select(rows, name))
    if not drawn.empty and drawn["value"].min() < 0:
        axis.axhline(0, color="grey", linewidth=0.5, zorder=0)
    step_axis(axis, set(drawn["step"].dropna()), label)


def _ring(axis: Axes, rows: pd.DataFrame, points: pd.DataFrame) -> None:
    """Draws a ring around each value from a run of which an end of the spectrum had not converged."""
    failed = select(rows, "is_converged").query("value == 0")[_CHECKPOINT]
    ringed = points.merge(failed, on=_CHECKPOINT)
    if not ringed.empty:
        style: dict[str, Any] = {"mfc": "none", "color": "black", "markersize": 7, "markeredgewidth": 0.6}
        axis.plot(ringed["step"], ringed["value"], "o", **style, label="not converged")


_OF_GAPS = (
    "Bottom: the probability that the loss is convex between two candidate updates (Appendix B), along the trunks; dotted, "
    "that the difference is above rounding; bars: 95 % Wilson intervals over pairs of updates."
)
FIGURE = ReportFigure(
    draw=draw,
    needs=("lambda_max", "p_gap_negative"),
    also=("lambda_min", "hessian_ratio", "is_converged", "p_gap_resolved"),
    caption=(
        "Figure 4. The ends of the Hessian's spectrum on a fixed part of the training set, and their ratio, along the trunks "
        "(left) and along branches to their endpoints (right, a line a branch, coloured by its split k); rings: not converged. "
        f"{_OF_GAPS} {ABOUT_TRUNKS}"
    ),
    only_with={_OF_GAPS: tuple(_GAPS)},
)
