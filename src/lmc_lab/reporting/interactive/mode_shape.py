"""What shape is a mode? Barriers from its centre, of its layers, and how far from linear features are over it."""

import pandas as pd

from lmc_lab.reporting.palette import BLUE, GREY, ORANGE, RED, split_colours
from lmc_lab.reporting.panel import Panel, Series, by_trunk, tasks_in, whole_numbers
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in

_STAR = {
    "star_barrier_loss": Series("centre to its own endpoints", BLUE),
    "star_rise_loss": Series("rise from these to the centre", BLUE, "dash"),
    "barrier_loss": Series("between its own endpoints", GREY),
    "inter_star_barrier_loss": Series("centre to endpoints of other hulls", RED),
    "inter_pair_barrier_loss": Series("between endpoints of different hulls", ORANGE),
}
_BY_LAYER = {
    "layer_barrier": "barrier of one layer averaged alone",
    "layer_barrier_random": "the same, moved as far at random",
    "feature_deviation_hull": "1 - |cosine| of features at hull points",
    "feature_deviation_endpoints": "1 - |cosine| of features of two endpoints",
}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns barriers against the split, and barriers and deviations of features by layer."""
    panels = []
    for task, task_rows in tasks_in(rows):
        traces = [
            trace for name, series in _STAR.items() for trace in by_trunk(select(task_rows, name, "train"), series)
        ]
        panels.append(
            Panel(
                title=f"{task}barriers from the centre",
                traces=traces,
                x="split step k",
                y="mean height in loss",
                steps=steps_in(task_rows),
            )
        )
        panels += [_by_layer(f"{task}{title}", select(task_rows, name, "train")) for name, title in _BY_LAYER.items()]
    return panels


def _by_layer(title: str, rows: pd.DataFrame) -> Panel:
    traces = [
        trace
        for split, colour in split_colours(steps_in(rows)).items()
        for trace in by_trunk(rows[rows["split_step"].isin([split])], Series(f"k = {split}", colour), x="index")
    ]
    last = max((x for trace in traces for x in trace["x"] if x is not None), default=1)
    return Panel(title=title, traces=traces, x="layer", y="mean", layout={"xaxis": whole_numbers(last)})


FIGURE = ReportFigure(
    draw=draw,
    needs=("star_barrier_loss", "layer_barrier", "feature_deviation_hull"),
    also=(
        *(name for name in _STAR if name != "star_barrier_loss"),
        *(name for name in _BY_LAYER if name not in ("layer_barrier", "feature_deviation_hull")),
    ),
    caption=(
        "The shape of a mode. Barriers in training loss from the hull's centre to its own endpoints (Sonthalia et al. 2024), "
        "and the largest height on these lines above the endpoint; between endpoints, and to those of hulls of other trunks; "
        "of pairs in which one layer alone is averaged (Adilova et al. 2024), beside moves as far in a random direction; and "
        "by layer how far its results at hull points are from a multiple of the mean of those of the endpoints (Zhou et al. "
        "2023), beside those of two endpoints. Layers are numbered in the order of their parameters for barriers, in that of "
        "their calls for results; the rows' settings have their names. Intervals: 95 %, of heights of lines a bootstrap over "
        "endpoints, of single layers and of two endpoints' results a jackknife over endpoints, of results at hull points t "
        "over these."
    ),
)
