"""Figure 2: how probable a better point of the hull is, and how large the hull is."""

import pandas as pd

from lmc_lab.reporting.onsets import Bracket, onsets
from lmc_lab.reporting.over_trunks import over_trunks
from lmc_lab.reporting.palette import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY
from lmc_lab.reporting.panel import SHARE_AXIS, Panel, Series, by_trunk, log_axis, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in

PROBABILITIES = {
    "p_conv": Series("p_conv", BLUE),
    "p_rand": Series("p_rand", ORANGE),
    "p_jensen_negative": Series("P(Jensen gap < 0)", GREEN, "dot"),
    "p_conv_hulls": Series("p_conv over hulls", PINK, "dash"),
}
_DISTANCES = {
    "endpoint_endpoint": Series("endpoint to endpoint", BLUE),
    "endpoint_hull_point": Series("endpoint to hull point", GREEN),
    "hull_radius": Series("hull radius", SKY),
    "endpoint_split": Series("endpoint to W_k", RED),
    "endpoint_start": Series("endpoint to W_0", PINK),
    "split_start": Series("W_k to W_0", ORANGE),
    "path_length": Series("length of the path", GREY, "dot"),
}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns probabilities and distances against the split step, with the bracket of the onset."""
    panels = []
    for task, task_rows in tasks_in(rows):
        steps, spans = steps_in(select(task_rows, "p_conv")), onsets(task_rows)
        panels.append(probabilities(task, task_rows, steps, spans))
        positive = task_rows[task_rows["value"] > 0]  # W_0 to itself has no logarithm
        traces = [trace for name, series in _DISTANCES.items() for trace in by_trunk(select(positive, name), series)]
        panels.append(
            Panel(
                title=f"{task}distances",
                traces=traces,
                x="split step k",
                y="Euclidean distance",
                steps=steps,
                spans=spans,
                layout={"yaxis": log_axis(traces)},
            )
        )
    return panels


def probabilities(task: str, rows: pd.DataFrame, steps: list[int], spans: list[Bracket]) -> Panel:
    """Returns the panel of `p_conv` and what it is compared with."""
    traces = [
        trace for name, series in PROBABILITIES.items() for trace in by_trunk(select(rows, name, "train"), series)
    ]
    traces += by_trunk(over_trunks(select(rows, "p_conv", "train")), Series("mean over trunks", GREY), within=(0, 1))
    return Panel(
        title=f"{task}is a point of the hull better?",
        traces=traces,
        x="split step k",
        y="probability",
        steps=steps,
        spans=spans,
        layout={"yaxis": SHARE_AXIS},
    )


FIGURE = ReportFigure(
    draw=draw,
    needs=("p_conv",),
    also=(*PROBABILITIES, *_DISTANCES, "onset_p_conv"),
    caption=(
        "Figure 2: better points in the hull, and its size. First panel: the probability that a random point of the hull "
        "(p_conv), or an equally long random perturbation (p_rand), has lower training loss than the nearest endpoint, "
        "with 95 % Wilson intervals over the samples of one hull; dotted, that the loss of a hull point is below the "
        "same mean of the endpoints' losses, which is convexity itself. Second: distances. Each symbol is a trunk; grey: "
        "between the last split that fails and the first from which p_conv stays at its threshold. "
        "From five trunks on also the mean over trunks, with Student's 95 % interval."
    ),
)
