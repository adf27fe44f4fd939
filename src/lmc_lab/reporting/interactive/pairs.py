"""Linear mode connectivity of pairs beside the hull that generalises it."""

import pandas as pd

from lmc_lab.landscape.onset import STABLE_INSTABILITY
from lmc_lab.reporting.palette import GREEN, PINK, RED
from lmc_lab.reporting.panel import Panel, Series, by_trunk, offsets, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in

_SERIES = {
    ("barrier", "train"): Series("barrier", GREEN),
    ("instability", "train"): Series("instability", RED),
    ("instability", "test"): Series("instability, test", PINK, "dash"),
}
_LEVELS = ("loss", "error")


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns barrier and instability of pairs in loss and in error."""
    panels = []
    for task, task_rows in tasks_in(rows):
        steps = steps_in(task_rows)
        for level in _LEVELS:
            traces = [
                trace
                for offset, ((quantity, subset), series) in zip(offsets(len(_SERIES)), _SERIES.items(), strict=True)
                for trace in by_trunk(select(task_rows, f"{quantity}_{level}", subset), series, offset=offset)
            ]
            note = f" (stable below {STABLE_INSTABILITY:.0%})" if level == "error" else ""
            panels.append(
                Panel(
                    title=f"{task}between pairs, in {level}{note}",
                    traces=traces,
                    x="split step k",
                    y=f"mean over pairs, {level}",
                    steps=steps,
                )
            )
    return panels


FIGURE = ReportFigure(
    draw=draw,
    needs=("instability_loss",),
    also=tuple(f"{name}_{level}" for name in ("barrier", "instability") for level in _LEVELS),
    caption=(
        "Pairs of endpoints: linear mode connectivity. Barrier: the largest excess of the loss on the line over the chord; "
        "instability: over the mean of both ends (Frankle et al. 2020, who call less than 2 % of error stable); dashed: "
        "on the test set. Means over pairs; intervals: a bootstrap over endpoints, which few make too short; "
        "how much is said above."
    ),
)
