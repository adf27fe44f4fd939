"""Figure 4: what the curvature and convexity between updates show along training."""

import pandas as pd

from lmc_lab.reporting.palette import BLUE, GREEN, GREY, RED, split_colours
from lmc_lab.reporting.panel import SHARE_AXIS, Panel, Series, Trace, by_trunk, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, select_any, steps_in

_CURVATURE = {"lambda_max": Series("λ_max", RED), "lambda_min": Series("λ_min", BLUE)}
_RATIO = {"hessian_ratio": Series("trunk", BLUE)}
_GAPS = {
    "p_gap_resolved": Series("P(|g| above rounding)", GREY, "dot"),  # first, so that it hides nothing
    "p_gap_negative": Series("P(g < 0)", GREEN),
}
_CHECKPOINT = ["trunk", "split_step", "branch", "step"]


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns the ends of the Hessian's spectrum, their ratio, and P(g < 0), along trunks and branches."""
    colours = split_colours(steps_in(select(rows, "hessian_ratio")))
    panels = []
    for task, task_rows in tasks_in(rows):
        panels += [
            _panel(f"{task}ends of the spectrum", "eigenvalue", task_rows, _CURVATURE, colours),
            _panel(f"{task}λ_min / λ_max", "ratio", task_rows, _RATIO, colours),
            _panel(f"{task}is the loss convex between updates?", "probability", task_rows, _GAPS, colours),
        ]
    return panels


def _panel(title: str, label: str, rows: pd.DataFrame, series: dict[str, Series], colours: dict[int, str]) -> Panel:
    shown = select_any(rows, series)
    is_trunk = shown["split_step"].isna()
    traces = [
        trace for name, style in series.items() for trace in by_trunk(select(shown[is_trunk], name), style, x="step")
    ]
    for split in steps_in(shown):
        split_rows = shown[shown["split_step"].eq(split).fillna(False)]
        branches = Series(f"branches from k = {split}", colours[split], "dot")
        traces += [
            trace for name in series for trace in by_trunk(select(split_rows, name), branches, x="step", group="branch")
        ]
    return Panel(
        title=title,
        traces=[*traces, *_unconverged(rows, shown)],
        x="step",
        y=label,
        steps=steps_in(shown, "step"),
        layout={"yaxis": SHARE_AXIS} if label == "probability" else None,
    )


def _unconverged(rows: pd.DataFrame, shown: pd.DataFrame) -> list[Trace]:
    """Returns a ring around each value from a run of which an end of the spectrum had not converged."""
    judged = select(rows, "is_converged")
    failed = judged.loc[judged["value"].eq(0), _CHECKPOINT]
    curvature = select_any(shown, [*_CURVATURE, *_RATIO])
    rings = by_trunk(curvature.merge(failed, on=_CHECKPOINT), Series("not converged", GREY), x="step", mode="markers")
    for ring in rings:
        ring["marker"] |= {"symbol": "circle-open", "size": 14}
        ring["meta"] |= {"symbol": "circle-open"}
    return rings


FIGURE = ReportFigure(
    draw=draw,
    needs=("lambda_max", "p_gap_negative"),
    also=("lambda_min", "hessian_ratio", "is_converged", "p_gap_resolved"),
    caption=(
        "Figure 4: curvature and convexity along training. The ends of the Hessian's spectrum on a fixed part of the "
        "training set and their ratio, along trunks and, dotted, branches (to their endpoints); and the probability that "
        "the loss is convex between two candidate updates (Appendix B), along the trunks. Rings: eigenvalues that had not "
        "converged."
    ),
)
