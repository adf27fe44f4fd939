"""Which measure announces the onset? Each along the trunks, with the bracket of the onset marked."""

import pandas as pd

from lmc_lab.reporting.detectors import DETECTORS, UNUSUAL, along_trunks
from lmc_lab.reporting.onsets import onsets
from lmc_lab.reporting.palette import BLUE
from lmc_lab.reporting.panel import Panel, Series, by_trunk, log_axis, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import steps_in


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns a panel for each detector that was measured."""
    return [_along(task, task_rows, quantity) for task, task_rows in tasks_in(rows) for quantity in DETECTORS]


def _along(task: str, rows: pd.DataFrame, quantity: str) -> Panel:
    detector, of_trunks = DETECTORS[quantity], along_trunks(rows, quantity)
    traces = by_trunk(of_trunks, Series(detector.name, BLUE), x="step")
    return Panel(
        title=f"{task}{detector.name}",
        traces=traces,
        x="step",
        y=detector.name,
        steps=steps_in(of_trunks, "step"),
        spans=onsets(rows),
        layout={"yaxis": log_axis(traces)} if detector.is_log else None,
    )


FIGURE = ReportFigure(
    draw=draw,
    needs=UNUSUAL,
    also=(*(quantity for quantity in DETECTORS if quantity not in UNUSUAL), "onset_p_conv"),
    of_trunks=True,
    caption=(
        "What announces the onset. Measures along the trunks; shaded is the bracket of the onset of p_conv, from the last "
        "split that fails to the first from which on it holds. A detector would change most just before, in every trunk."
    ),
)
