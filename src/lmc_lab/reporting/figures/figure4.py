"""Figure 4: what the curvature and convexity between updates show along training."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import (
    SplitColours,
    Style,
    draw_points,
    legends,
    split_colours,
    step_axis,
    task_columns,
)
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_CURVATURE = {"lambda_max": Style(r"$\lambda_{max}$", "C3", "^"), "lambda_min": Style(r"$\lambda_{min}$", "C0", "v")}


def draw(rows: pd.DataFrame) -> Figure:
    """Returns Figure 4: the ends of the Hessian's spectrum, their ratio, and P(g < 0), along trunks and branches."""
    figure, columns = task_columns(rows, 3)
    colours = split_colours(select(rows, "hessian_ratio")["split_step"].dropna())
    for (ends, ratio, gap), own in columns:
        trunk, branches = own[own["split_step"].isna()], own[own["split_step"].notna()]
        for quantity, style in _CURVATURE.items():
            draw_points(ends, select(trunk, quantity), "step", style)
            _draw_branches(ends, select(branches, quantity), colours)
            _mark_unconverged(ends, own, quantity)
        ends.set_yscale("symlog", linthresh=0.1)
        draw_points(ratio, select(trunk, "hessian_ratio"), "step", Style("trunk", "C0", "o"))
        _draw_branches(ratio, select(branches, "hessian_ratio"), colours)
        _mark_unconverged(ratio, own, "hessian_ratio")
        for axis in (ends, ratio):
            axis.axhline(0, color="grey", linewidth=0.5)
        draw_points(gap, select(trunk, "p_gap_negative"), "step", Style("P(g < 0)", "C2", "o"))
        draw_points(gap, select(trunk, "p_gap_resolved"), "step", Style("P(|g| above rounding)", "C7", ".", ":"))
        gap.set_ylim(-0.05, 1.05)
        step_axis(gap, trunk[trunk["quantity"].isin(("hessian_ratio", "p_gap_negative"))]["step"].unique(), "step")
    ends, ratio, gap = columns[0][0]
    ends.set_ylabel("eigenvalue")
    ratio.set_ylabel(r"$\lambda_{min} / \lambda_{max}$")
    gap.set_ylabel("probability that the loss is convex\nbetween two updates")
    return legends(figure, columns)


def _draw_branches(axis: Axes, rows: pd.DataFrame, colours: SplitColours) -> None:
    """Draws a quantity along each branch, to its endpoint, in the colour of its split."""
    for (split, _, _), own in rows.sort_values("step").groupby(["split_step", "trunk", "branch"]):
        label = f"branches from k = {split}"
        axis.plot(own["step"], own["value"], "x-", color=colours[split], linewidth=0.7, alpha=0.7, label=label)


def _mark_unconverged(axis: Axes, rows: pd.DataFrame, quantity: str) -> None:
    """Draws a ring around each value from a run of which an end of the spectrum had not converged."""
    keys = ["trunk", "split_step", "branch", "step"]
    failed = select(rows, "is_converged").query("value == 0")[keys]
    found = select(rows, quantity).merge(failed, on=keys)
    if not found.empty:
        axis.plot(found["step"], found["value"], "o", mfc="none", color="black", markersize=9, label="not converged")


FIGURE = ReportFigure(
    draw=draw,
    needs=("lambda_max", "p_gap_negative"),
    also=("lambda_min", "hessian_ratio", "is_converged", "p_gap_resolved"),
    caption=(
        "Figure 4. The ends of the Hessian's spectrum on a fixed part of the training set and their ratio, along trunks "
        "and branches; and the probability that the loss is convex between two candidate updates (Appendix B), along "
        "the trunks."
    ),
)
