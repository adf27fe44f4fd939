"""Does chaos end at the onset? How fast differences of weights grow, and how large a perturbation leads to a barrier."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.along_training import mark_splits_and_onsets
from lmc_lab.reporting.figures.axes import (
    ABOUT_TRUNKS,
    Marks,
    Style,
    draw_against_split,
    draw_points,
    log_axis,
    step_axis,
)
from lmc_lab.reporting.figures.layout import Panel, compose, measured
from lmc_lab.reporting.onsets import BESIDE
from lmc_lab.reporting.palette import BLUE, GREY, RED
from lmc_lab.reporting.perturbations import KINDS, SHARES, SIGMA_50, SIZE, half_points, shares_by_size
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_COLOURS = {"gaussian": BLUE, "gradient": RED}
_RATES = {
    "lyapunov_exponent": "Lyapunov exponent",
    "difference_growth": "growth of differences",
}


def draw(rows: pd.DataFrame) -> Figure:
    """Returns the rates at which differences grow along the trunks, and what perturbations of W_k lead to."""
    along_trunk: list[Panel] = [partial(growth, quantity=quantity) for quantity in _RATES]
    kinds = [kind for kind, shares in zip(KINDS, SHARES, strict=True) if not select(rows, shares).empty]
    by_size: list[Panel] = [partial(barriers_by_size, kind=kind) for kind in kinds]
    return compose(rows, measured(rows, {tuple(_RATES): along_trunk, SIGMA_50: [sigma_50], SHARES: by_size}))


def growth(axis: Axes, rows: pd.DataFrame, marks: Marks, *, quantity: str = "lyapunov_exponent") -> None:
    """Draws a rate at which differences grow against the step at which its window begins; splits and onsets are marked."""
    rates = select(rows, quantity)
    draw_points(axis, "step", {Style("trunk", BLUE): rates}, marks)
    axis.set_ylabel(_RATES[quantity])
    if not axis.has_data():
        return
    mark_splits_and_onsets(axis, rows, marks)
    axis.axhline(0, color=GREY, linewidth=0.7, zorder=0)
    step_axis(axis, set(rates["step"]), "step of training")


def sigma_50(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws the size of a perturbation at which half of the pairs have a barrier, against the split step."""
    series = {
        Style(f"perturbations: {words}", _COLOURS[kind]): half_points(rows, kind) for kind, words in KINDS.items()
    }
    draw_against_split(axis, series, marks)
    axis.set_ylabel(r"$\sigma_{50}$")
    if axis.has_data():
        log_axis(axis)


def barriers_by_size(axis: Axes, rows: pd.DataFrame, marks: Marks, *, kind: str = "gaussian") -> None:
    """Draws the share of pairs with a barrier by the size of the perturbation, in the colour of the split."""
    shares = shares_by_size(rows, kind)
    series = {Style("", marks.splits[split]): split_rows for split, split_rows in shares.groupby("split_step")}
    draw_points(axis, "size", series, marks, within=(0, 1), apart=2)
    marks.name(axis, splits=shares["split_step"])
    axis.set_xlabel(rf"size $\sigma$ of the perturbation, {KINDS[kind]}")
    axis.set_ylabel("share with a barrier")
    axis.set_ylim(-0.05, 1.05)
    if axis.has_data():
        axis.set_xscale("log")
        axis.set_xticks(sizes := sorted(set(shares["size"])), [f"{size:g}" for size in sizes])
        axis.minorticks_off()
        axis.margins(x=0.1)


_OF_BRANCHES = (
    "Below: branches from W_k and from W_k + sigma e in the same data order (Altintas et al. 2025), e as long as the initial "
    "weights deviate; sigma_50, at which half of the pairs have an instability in training error above 2 %, by a logistic fit "
    "(bars: profile likelihood) or between two sizes, below the smallest (a bar to the axis) where every size has barriers, no "
    "mark where none has; and the share of pairs that have one (bars: Wilson's 95 %), for Gaussian e or e along the gradient "
    "of a batch."
)
FIGURE = ReportFigure(
    draw=draw,
    needs=("lyapunov_exponent", *SHARES),
    also=(*(name for name in _RATES if name != "lyapunov_exponent"), *SIGMA_50, SIZE, *BESIDE),
    caption=(
        "Chaos of training: the mean log of the factor by which small differences grow in a step, in windows of the trunk "
        "that begin at these steps. The Lyapunov exponent is that of weights and momentum over the second half of a window, "
        "after the differences have turned towards what grows fastest; above 0 training is chaotic there. Beside it random "
        "differences of weights, over the whole window. Dotted: splits k; shaded: between the last split that fails and the "
        "onset of p_conv. Bars: 95 % t intervals over random directions. "
        f"{_OF_BRANCHES} {ABOUT_TRUNKS}"
    ),
    only_with={_OF_BRANCHES: (*SIGMA_50, *SHARES)},
)
