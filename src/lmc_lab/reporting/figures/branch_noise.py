"""Other noise than the order of the data: hulls of branches that differ in one kind of noise, and of mixtures."""

from math import inf

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import ABOUT_TRUNKS, Marks, Style, draw_against_split
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.noise_kinds import Kind, by_kind, by_mixture, of_all_kinds, of_all_mixtures
from lmc_lab.reporting.report_figure import ReportFigure


def draw(rows: pd.DataFrame) -> Figure:
    """Returns `p_conv`, the share of points with a Jensen gap below 0 and the size of hulls: of one kind, and of mixtures."""
    return compose(
        rows, [[noise_p_conv, mixture_p_conv], [noise_convexity, mixture_convexity], [noise_radius, mixture_distance]]
    )


def noise_p_conv(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws how often a hull point of branches of one kind of noise is better than the nearest endpoint."""
    _draw_share(axis, by_kind(rows, "p_conv"), marks)
    axis.set_ylabel("$p_{conv}$, one kind")


def mixture_p_conv(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the same of hulls half of whose endpoints differ in the order, and half in another kind."""
    _draw_share(axis, by_mixture(rows, "p_conv"), marks)
    axis.set_ylabel("$p_{conv}$, with the order")


def noise_convexity(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws how often a hull point of branches of one kind has a lower loss than the mean of the endpoints in it."""
    _draw_share(axis, by_kind(rows, "p_jensen_negative"), marks)
    axis.set_ylabel("P(Jensen < 0), one kind")


def mixture_convexity(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the same of mixtures."""
    _draw_share(axis, by_mixture(rows, "p_jensen_negative"), marks)
    axis.set_ylabel("P(Jensen < 0), with the order")


def noise_radius(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the radius of hulls of one kind of noise."""
    _draw(axis, by_kind(rows, "hull_radius", None), marks, most=inf)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("hull radius, one kind")


def mixture_distance(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the distance between endpoints of different kinds in mixtures."""
    _draw(axis, by_mixture(rows, "endpoint_endpoint", None), marks, most=inf)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("distance between kinds")


def _draw_share(axis: Axes, by_noise: dict[Kind, pd.DataFrame], marks: Marks) -> None:
    _draw(axis, by_noise, marks, most=1)
    axis.set_ylim(-0.04, 1.04)


def _draw(axis: Axes, by_noise: dict[Kind, pd.DataFrame], marks: Marks, *, most: float) -> None:
    series = {Style(kind.label, kind.colour): kind_rows for kind, kind_rows in by_noise.items() if not kind_rows.empty}
    draw_against_split(axis, series, marks, within=(0, most))


FIGURE = ReportFigure(
    draw=draw,
    needs=of_all_kinds("p_conv"),
    also=(
        *of_all_kinds("p_jensen_negative", "hull_radius"),
        *of_all_mixtures("p_conv", "p_jensen_negative", "endpoint_endpoint"),
    ),
    caption=(
        "Other noise than the order of the data. Left: hulls of branches that follow their trunk but for one kind of noise: "
        "the order of its data, their augmentation, dropout, some wrong labels, another rate; points are judged on the labels "
        "as they are. Plain branches differ in order, augmentation and dropout, as far as the task has them. Right: hulls half "
        "of whose endpoints differ from the trunk in the order and half in another kind, or in all kinds in turn. Middle: the "
        "share of hull points whose loss is below the same mean of their endpoints' losses, which are not alike in a mixture. "
        "Bottom: radii, and the mean distance between endpoints of different kinds. All hulls have equally many endpoints. "
        "Bars: 95 % intervals, of shares Wilson's over hull points, of the radius t over endpoints, of distances a jackknife "
        f"over endpoints. {ABOUT_TRUNKS}"
    ),
)
