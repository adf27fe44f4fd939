"""Does chaos end at the onset? How fast differences of weights grow along training."""

import pandas as pd

from lmc_lab.reporting.onsets import BESIDE, onsets, splits_in
from lmc_lab.reporting.palette import BLUE, ORANGE
from lmc_lab.reporting.panel import Panel, Series, by_trunk, steps_in, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_RATES = {
    "lyapunov_exponent": Series("Lyapunov exponent", BLUE),
    "difference_growth": Series("random differences of weights", ORANGE),
}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns the rates at which differences grow along the trunks."""
    panels = [_rates(f"{task}growth of small differences", own) for task, own in tasks_in(rows)]
    return [panel for panel in panels if panel.traces]


def _rates(title: str, rows: pd.DataFrame) -> Panel:
    found = {name: select(rows, name) for name in _RATES}
    return Panel(
        title=title,
        traces=[trace for name, each in _RATES.items() for trace in by_trunk(found[name], each, x="step")],
        x="step at which the window begins",
        y="log growth a step",
        steps=steps_in(pd.concat(found.values()), "step"),
        spans=onsets(rows),
        lines=splits_in(rows),
    )


FIGURE = ReportFigure(
    draw=draw,
    needs=("lyapunov_exponent",),
    also=(*(name for name in _RATES if name != "lyapunov_exponent"), *BESIDE),
    caption=(
        "Chaos. The mean log of the factor by which small differences grow in a step of training, in windows that begin at "
        "these steps of the trunk: of weights and momentum over the second half of the window, after they have turned towards "
        "what grows fastest (the finite-time Lyapunov exponent; above 0 training is chaotic there), and of random differences "
        "of weights over all of it. Dotted lines are splits, shaded is the bracket of the onset of p_conv. Intervals: 95 % "
        "over random directions (t)."
    ),
)
