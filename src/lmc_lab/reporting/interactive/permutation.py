"""Is a mode one region up to permutation? Hulls of several trunks' endpoints before and after their neurons are aligned."""

from math import inf

import pandas as pd

from lmc_lab.reporting.alignment_ways import NONE, all_ways, by_way, of_union
from lmc_lab.reporting.panel import SHARE_AXIS, Panel, Series, by_trunk, offsets, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import steps_in

_PANELS = {
    "barrier_loss": ("barriers between trunks", "mean barrier in loss", "train", inf),
    "p_conv": ("p_conv of the hull of all endpoints", "p_conv", "train", 1),
    "p_rand": ("p_rand of the hull of all endpoints", "p_rand", "train", 1),
    "centre_loss": ("loss at the centre of all endpoints", "loss", "train", inf),
    "centre_right": ("examples that all endpoints have right, at their centre", "share that is right", "train", 1),
    "distance": ("distance between endpoints of different trunks", "mean distance", None, inf),
}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns a panel for each quantity, in which the ways are series."""
    panels = []
    for task, task_rows in tasks_in(rows):
        for quantity, (title, label, subset, most) in _PANELS.items():
            ways = by_way(task_rows, quantity, subset)
            traces = [
                trace
                for offset, (way, way_rows) in zip(offsets(len(ways)), ways.items(), strict=True)
                for trace in by_trunk(way_rows, Series(way.label, way.colour), within=(0, most), offset=offset)
            ]
            panels.append(
                Panel(
                    title=f"{task}{title}",
                    traces=traces,
                    x="split step k",
                    y=label,
                    steps=steps_in(task_rows),
                    layout={"yaxis": SHARE_AXIS} if most == 1 else None,
                )
            )
    return panels


FIGURE = ReportFigure(
    draw=draw,
    needs=(of_union("barrier_loss", NONE),),
    also=all_ways(*_PANELS),
    caption=(
        "One region up to permutation. The endpoints of all trunks' branches from one split, before and after their neurons "
        "are put into one order, which changes no function: by the weights of the hulls' centres, of each endpoint, of all "
        "jointly, of the trunks at the split (Ainsworth et al. 2022; Crisostomi et al. 2024; Sharma et al. 2024), by the "
        "activations of the centres, and of each pair alone, which has no hull of all. Intervals: 95 %, of barriers a "
        "bootstrap over endpoints, of p_conv and p_rand Wilson's over points of the hull."
    ),
)
