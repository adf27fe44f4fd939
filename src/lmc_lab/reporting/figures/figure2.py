"""Figure 2: how probable a better point of the hull is, and how large the hull is."""

import pandas as pd
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import PROBABILITIES, Style, draw_against_split, legends, split_axis, task_columns
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_DISTANCES = {
    "endpoint_endpoint": Style("endpoint to endpoint", "C0", "o"),
    "endpoint_hull_point": Style("endpoint to hull point", "C2", "^"),
    "hull_radius": Style("hull radius", "C9", "v"),
    "endpoint_split": Style("endpoint to $W_k$", "C3", "D"),
    "endpoint_start": Style("endpoint to $W_0$", "C4", "P"),
    "split_start": Style("$W_k$ to $W_0$", "C5", "X"),
    "path_length": Style("length of the path", "C7", "."),
}


def draw(rows: pd.DataFrame) -> Figure:
    """Returns Figure 2: `p_conv` and `p_rand` (top) and distances (bottom) against the split step."""
    figure, columns = task_columns(rows, 2)
    for (top, bottom), own in columns:
        for quantity, style in PROBABILITIES.items():
            draw_against_split(top, select(own, quantity, "train"), style)
        top.set_ylim(-0.05, 1.05)
        for quantity, style in _DISTANCES.items():
            distances = select(own, quantity)
            draw_against_split(bottom, distances[distances["value"] > 0], style)  # W_0 to itself has no logarithm
        bottom.set_yscale("log")
        split_axis(bottom, select(own, "p_conv"))
    first = columns[0][0]
    first[0].set_ylabel("probability of lower training loss\nthan the nearest endpoint")
    first[1].set_ylabel("Euclidean distance")
    return legends(figure, columns)


FIGURE = ReportFigure(
    draw=draw,
    needs=("p_conv",),
    also=(*PROBABILITIES, *_DISTANCES),
    caption=(
        "Figure 2. Top: the probability that a random point of the hull, or an equally long perturbation, has lower "
        "training loss than the nearest endpoint, with 95 % Wilson intervals over the samples of one hull. Bottom: "
        "distances. Points are trunks."
    ),
)
