"""Figure 2: how probable a better point of the hull is, and how large the hull is."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_against_split, log_axis
from lmc_lab.reporting.figures.layout import compose, measured
from lmc_lab.reporting.over_trunks import ABOUT, over_trunks
from lmc_lab.reporting.palette import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

PROBABILITIES = {
    "p_conv": Style(r"hull point, $p_{\mathrm{conv}}$", BLUE),
    "p_rand": Style(r"perturbation, $p_{\mathrm{rand}}$", ORANGE, "--"),
}
_DISTANCES = {
    "endpoint_endpoint": Style("endpoint to endpoint", BLUE),
    "endpoint_hull_point": Style("endpoint to hull point", GREEN),
    "hull_radius": Style("hull radius", SKY),
    "endpoint_split": Style("endpoint to $W_k$", RED, "--"),
    "endpoint_start": Style("endpoint to $W_0$", PINK, "--"),
    "split_start": Style("$W_k$ to $W_0$", ORANGE, "--"),
    "path_length": Style("length of the path", GREY, ":"),
}


def draw(rows: pd.DataFrame) -> Figure:
    """Returns Figure 2: `p_conv` and `p_rand` (top) and distances (bottom) against the split step."""
    return compose(rows, measured(rows, {tuple(PROBABILITIES): [p_conv], tuple(_DISTANCES): [distances]}))


def p_conv(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws `p_conv` and `p_rand` against the split step."""
    series = {style: select(rows, quantity, "train") for quantity, style in PROBABILITIES.items()}
    of_all = {Style("mean over trunks", GREY): over_trunks(select(rows, "p_conv", "train"))}
    draw_against_split(axis, series | of_all, marks, within=(0, 1))
    axis.set_ylim(-0.05, 1.05)
    axis.set_ylabel("P(lower training loss\nthan nearest endpoint)")


def distances(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws how far endpoints are from each other, from the hull's points, and from where they began."""
    positive = rows[rows["value"] > 0]  # W_0 to itself has no logarithm
    draw_against_split(axis, {style: select(positive, quantity) for quantity, style in _DISTANCES.items()}, marks)
    log_axis(axis)
    axis.set_ylabel("Euclidean distance")


_OF_DISTANCES = (
    "Bottom: distances in the hull (solid), to where training or the branches began (dashed) and along the path (dotted), "
    "means with bars: 95 % intervals (Student's t; over pairs of endpoints, the jackknife over endpoints)."
)
FIGURE = ReportFigure(
    draw=draw,
    needs=("p_conv",),
    also=(*PROBABILITIES, *_DISTANCES),
    caption=(
        "Figure 2. Top: the probability that a random point of the hull (solid), or an equally long random perturbation "
        "(dashed), has lower training loss than the nearest endpoint; bars: 95 % Wilson intervals over the points drawn of "
        f"one hull. {ABOUT} {_OF_DISTANCES} {ABOUT_TRUNKS}"
    ),
    only_with={_OF_DISTANCES: tuple(_DISTANCES)},
)
