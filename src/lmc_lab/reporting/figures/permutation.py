"""Is a mode one region up to permutation? Hulls of several trunks' endpoints before and after their neurons are aligned."""

from math import inf

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.alignment_ways import NONE, all_ways, by_way, of_union
from lmc_lab.reporting.figures.axes import Marks, Style, draw_against_split
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_QUANTITIES = ("barrier_loss", "p_conv", "centre_loss")


def draw(rows: pd.DataFrame) -> Figure:
    """Returns barriers between trunks, `p_conv` of the hull of all endpoints, and the loss at its centre."""
    return compose(rows, [[union_barriers], [union_p_conv], [union_centre]], wide=True)


def union_barriers(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the mean barrier between endpoints of different trunks, for each way to align them; dashed, of one trunk."""
    _draw(axis, rows, marks, "barrier_loss", most=inf)
    axis.set_ylabel("barrier in loss")


def union_p_conv(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws how often a point of the hull of all endpoints is better than the nearest; dashed, of each trunk's own hull."""
    _draw(axis, rows, marks, "p_conv", most=1)
    axis.set_ylim(-0.04, 1.04)
    axis.set_ylabel("$p_{conv}$ of the union")


def union_centre(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the loss at the centre of all endpoints; dashed, at that of each trunk's own hull."""
    _draw(axis, rows, marks, "centre_loss", most=inf)
    axis.set_ylabel("loss at the centre")


def _draw(axis: Axes, rows: pd.DataFrame, marks: Marks, quantity: str, *, most: float) -> None:
    of_union = {Style(way.label, way.colour): way_rows for way, way_rows in by_way(rows, quantity).items()}
    alone = {Style("one trunk's endpoints alone", "black", "--"): select(rows, quantity, "train")}
    draw_against_split(axis, alone | of_union, marks, within=(0, most), apart=2)
    if axis.has_data():
        axis.set_ylim(bottom=0)


FIGURE = ReportFigure(
    draw=draw,
    needs=(of_union("barrier_loss", NONE),),
    also=(*_QUANTITIES, *all_ways(*_QUANTITIES)),
    caption=(
        "One region up to permutation. The endpoints of all trunks' branches from one split, before and after their neurons "
        "are put into one order (Ainsworth et al. 2022). Top: mean barrier in training loss between endpoints of different "
        "trunks; bars: 95 % bootstrap over endpoints. Middle: p_conv of the hull of all endpoints; bars: Wilson's over its "
        "points. Bottom: training loss at the centre of all endpoints. Squares are of all trunks; dashed, of one trunk's "
        "endpoints alone: each other symbol is a trunk. Series stand side by side at each step."
    ),
)
