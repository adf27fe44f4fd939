"""Why hulls stop being better: the terms of the Jensen gap of branches on their way."""

from typing import Any

import pandas as pd

from lmc_lab.reporting.hull_terms import TERMS, of_sum
from lmc_lab.reporting.interactive.gap_terms import OF_POINTS, series_of
from lmc_lab.reporting.panel import Panel, by_trunk, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import steps_in


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns bend and averaging against t, of one split at a time."""
    return [
        Panel(
            title=f"{task}on the way, k = {split}",
            traces=[
                trace
                for name in OF_POINTS
                for trace in by_trunk(of_sum(of_split, name), series_of(TERMS[name]), x="step")
            ],
            x="step t of training",
            y="mean over hull points",
            steps=steps_in(split_rows, "step"),
            choice=f"k = {split}",
        )
        for task, split_rows in tasks_in(rows)
        for split, of_split in _ways(split_rows)
    ]


def _ways(rows: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    """Returns the splits with their rows; where some were measured at several steps, those alone."""
    splits = list(rows.groupby("split_step"))
    return [(split, split_rows) for split, split_rows in splits if split_rows["step"].nunique() > 1] or splits


FIGURE = ReportFigure(
    draw=draw,
    needs=("gap_bend",),
    also=("gap_averaging",),
    over_time=True,
    caption=(
        "Why a hull point is better, on the way. The same terms of the hulls of branches at step t; where the bend grows above "
        "what averaging gains, the loss is no longer convex over the hull. Training set; intervals: 95 % over hull points (t)."
    ),
)
