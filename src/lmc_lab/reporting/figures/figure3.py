"""Figure 3: of how many dimensions the hull is."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmc_lab.reporting.figures.axes import Marks, note
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.figures.style import SMALL
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.reporting.singular_values import over_largest
from lmc_lab.results.select import select, steps_in

KINDS = ("raw", "centred")
_MODE = ["split_step", "trunk"]
_WIDE = 0.1  # a smallest value, of the largest, below which the axis is logarithmic
_LEAST = 1e-3  # that the axis shows of values that are all alike
_ROOM = 0.08  # above and below, of what the values take


def draw(rows: pd.DataFrame) -> Figure:
    """Returns Figure 3: normalised singular values of the stacked endpoints, raw (top) and centred (bottom)."""
    return compose(rows, [[partial(singular_values, kind=kind)] for kind in KINDS])


def singular_values(axis: Axes, rows: pd.DataFrame, marks: Marks, *, kind: str) -> None:
    """Draws singular values over the largest.

    As in the paper, of the splits from which on the hull's centre is better than the endpoints; of all splits where that was
    not asked.
    """
    axis.set_xlabel("component")
    axis.set_ylabel(f"{kind} $\\sigma_i / \\sigma_1$")
    chosen = rows[rows["split_step"].isin(_splits_with_better_centre(rows))]
    values = over_largest(chosen, kind).sort_values([*_MODE, "index"])
    if values.empty:
        if chosen.empty:
            note(axis, "no split from which the centre is better")
        return
    for (split, trunk), mode_rows in values.groupby(_MODE):
        axis.plot(mode_rows["index"], mode_rows["value"], f"{marks.symbol(trunk)}-", color=marks.splits[split])
    marks.name(axis, splits=values["split_step"], trunks=values["trunk"])
    last = int(values["index"].max())
    num_outputs = select(chosen, "num_outputs")["value"].max()
    if num_outputs <= last:
        axis.axvline(num_outputs, color="grey", linestyle=":", label="number of outputs K")
    axis.set_xlim(0.8, max(last, 2) + 0.2)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    _scale(axis, float(values["value"].min()))
    _remark(axis, chosen, kind)


def _scale(axis: Axes, smallest: float) -> None:
    """Lets the values fill the axis, from the smallest to 1."""
    if smallest < _WIDE:
        axis.set_yscale("log")
        room = (1 / smallest) ** _ROOM
        axis.set_ylim(smallest / room, room)
    else:
        taken = max(1 - smallest, _LEAST)
        axis.set_ylim(1 - (1 + _ROOM) * taken, 1 + _ROOM * taken)


def _remark(axis: Axes, rows: pd.DataFrame, kind: str) -> None:
    """Writes below the panel how many dimensions there are, and how many endpoints and outputs."""
    ranks = select(rows, f"effective_rank_{kind}")["value"]
    counts = sorted(set(select(rows, f"singular_value_{kind}").groupby(_MODE).size()))
    outputs = sorted(set(select(rows, "num_outputs")["value"]))
    lines = [f"effective rank {_span([f'{rank:.2f}' for rank in (ranks.min(), ranks.max())])}"] if len(ranks) else []
    of_modes = [f"P = {_span([str(counts[0]), str(counts[-1])])}", *(f"K = {number:.0f}" for number in outputs)]
    text, below = "\n".join([*lines, ", ".join(of_modes)]), axis.xaxis.label
    axis.annotate(text, (0.5, 0), xycoords=below, ha="center", va="top", fontsize=SMALL)


def _span(numbers: list[str]) -> str:
    return " to ".join(dict.fromkeys(numbers))


def _splits_with_better_centre(rows: pd.DataFrame) -> list[int]:
    """Returns the splits from the first on from which every trunk's hull centre has lower loss than its mean endpoint.

    All of them where no trunk was asked.
    """
    if not rows["quantity"].str.startswith("onset_centre_better").any():
        return steps_in(rows)
    trunks = rows.loc[rows["quantity"].eq("singular_value_raw"), "trunk"].unique()
    onsets = select(rows, "onset_centre_better", "train").groupby("trunk")["value"].max().reindex(trunks)
    if onsets.isna().any():  # of a trunk whose centre is not better even at the last split
        return []
    return [step for step in steps_in(rows) if step >= onsets.max()]


FIGURE = ReportFigure(
    draw=draw,
    needs=("singular_value_raw",),
    also=(
        "singular_value_centred",
        "singular_value_floor_raw",
        "singular_value_floor_centred",
        "effective_rank_raw",
        "effective_rank_centred",
        "num_outputs",
        "onset_centre_better",
        "onset_centre_better_splits",
    ),
    caption=(
        "Figure 3. Singular values sigma_i of the P stacked endpoints over the largest, as they are (raw) and less their "
        "mean (centred), for the splits k from which on the hull's centre is better than the mean endpoint (for all, where the "
        "analysis onset was not run). A line is one hull: its colour is the split, its symbol the trunk. Dotted, where there "
        "are so many components: the number K of outputs (classes). Centred, P points span at most P - 1 dimensions; values "
        "that are zero but for rounding are left out."
    ),
)
