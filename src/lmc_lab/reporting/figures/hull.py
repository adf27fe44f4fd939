"""The hull: how probable a better point is, how large and of how many dimensions it is (Figures 2 and 3)."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmc_lab.reporting.figures.axes import (
    SplitColours,
    Style,
    draw_against_split,
    legends,
    note,
    split_axis,
    split_colours,
    task_columns,
)
from lmc_lab.reporting.select import select

PROBABILITIES = {"p_conv": Style("hull point", "C0", "o"), "p_rand": Style("matched perturbation", "C1", "s")}
_DISTANCES = {
    "endpoint_endpoint": Style("endpoint to endpoint", "C0", "o"),
    "endpoint_hull_point": Style("endpoint to hull point", "C2", "^"),
    "hull_radius": Style("hull radius", "C9", "v"),
    "endpoint_split": Style("endpoint to $W_k$", "C3", "D"),
    "endpoint_start": Style("endpoint to $W_0$", "C4", "P"),
    "split_start": Style("$W_k$ to $W_0$", "C5", "X"),
    "path_length": Style("length of the path", "C7", "."),
}


def figure2(rows: pd.DataFrame) -> Figure:
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


def figure3(rows: pd.DataFrame) -> Figure:
    """Returns Figure 3: normalised singular values of the stacked endpoints, raw (top) and centred (bottom).

    As in the paper, of the splits from which on the hull's centre is better than the endpoints.
    """
    figure, columns = task_columns(rows, 2)
    colours = split_colours(select(rows, "singular_value_raw")["split_step"])
    for axes, own in columns:
        chosen = own[own["split_step"].isin(_splits_with_better_centre(own))]
        for axis, kind in zip(axes, ("raw", "centred"), strict=True):
            if chosen.empty:
                note(axis, "no split from which the centre is better")
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


def _splits_with_better_centre(rows: pd.DataFrame) -> list[int]:
    """Returns the splits from the first on at which every trunk's hull centre has lower loss than its mean endpoint."""
    keys = ["trunk", "split_step"]
    centre = select(rows, "centre_loss", "train").set_index(keys)["value"]
    endpoint = select(rows, "endpoint_loss", "train").set_index(keys)["value"]
    better = centre.lt(endpoint).groupby("split_step").all().sort_index()
    first = next((step for step in better.index if better.loc[step:].all()), None)
    return [] if first is None else [int(step) for step in better.index if step >= first]
