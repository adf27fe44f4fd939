"""Figure 3: of how many dimensions the hull is."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmc_lab.reporting.figures.axes import SplitColours, legends, note, split_colours, task_columns
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select


def draw(rows: pd.DataFrame) -> Figure:
    """Returns Figure 3: normalised singular values of the stacked endpoints, raw (top) and centred (bottom).

    As in the paper, of the splits from which on the hull's centre is better than the endpoints.
    """
    figure, columns = task_columns(rows, 2)
    colours = split_colours(select(rows, "singular_value_raw")["split_step"])
    for axes, own in columns:
        chosen = own[own["split_step"].isin(_splits_with_better_centre(own))]
        for axis, kind in zip(axes, ("raw", "centred"), strict=True):
            if chosen.empty:
                note(axis, _why_none(own))
            else:
                _draw_spectrum(axis, chosen, kind, colours)
        axes[-1].set_xlabel("component")
    for axis, kind in zip(columns[0][0], ("raw", "centred"), strict=True):
        axis.set_ylabel(f"singular value / largest, {kind}")
    return legends(figure, columns)


def _draw_spectrum(axis: Axes, rows: pd.DataFrame, kind: str, colours: SplitColours) -> None:
    values = select(rows, f"singular_value_{kind}")
    if values.empty:
        return
    for (trunk, split), own in values.groupby(["trunk", "split_step"]):
        label = f"k = {split}" if trunk == values["trunk"].min() else None
        own = own.sort_values("index")
        # The last centred value is zero but for rounding: P points span P - 1 dimensions.
        floor = (
            select(rows, f"singular_value_floor_{kind}")
            .query("trunk == @trunk and split_step == @split")["value"]
            .max()
        )
        own = own[own["value"] > floor]
        axis.plot(own["index"], own["value"] / own["value"].max(), ".-", color=colours[split], alpha=0.7, label=label)
    ranks = select(rows, f"effective_rank_{kind}")["value"]
    num_outputs, num_endpoints = select(rows, "num_outputs")["value"].max(), values["index"].max()
    axis.axvline(num_outputs, color="grey", linestyle=":", label="number of outputs K")
    effective = " to ".join(dict.fromkeys(f"{rank:.2f}" for rank in (ranks.min(), ranks.max())))
    remark = f"effective rank {effective} of P = {num_endpoints}, K = {num_outputs:.0f}"
    axis.text(0.5, 0.03, remark, transform=axis.transAxes, ha="center", fontsize=9, color="grey")
    axis.set_yscale("log")
    axis.set_ylim(0.5 * min(0.1, axis.dataLim.y0), 2)  # a whole decade at least, and room for the remark
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _why_none(rows: pd.DataFrame) -> str:
    is_known = rows["quantity"].str.startswith("onset_centre_better").any()
    return "no split from which the centre is better" if is_known else "the analysis onset was not run"


def _splits_with_better_centre(rows: pd.DataFrame) -> list[int]:
    """Returns the splits from the first on from which every trunk's hull centre has lower loss than its mean endpoint."""
    trunks = rows.loc[rows["quantity"].eq("singular_value_raw"), "trunk"].unique()
    onsets = select(rows, "onset_centre_better", "train").groupby("trunk")["value"].max().reindex(trunks)
    if onsets.isna().any():  # of a trunk whose centre is not better even at the last split
        return []
    return sorted({int(step) for step in rows["split_step"].dropna() if step >= onsets.max()})


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
        "Figure 3. Singular values of the stacked endpoints, for the splits from which on the hull's centre is better than "
        "the mean endpoint, of every trunk; dotted: the number K of outputs (classes). Centred, P points span at most P - 1 "
        "dimensions."
    ),
)
