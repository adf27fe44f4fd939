"""The paper's figures, from rows alone; one column a task."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.table import select

_PROBABILITIES = {"p_conv": ("hull point", "C0", "o"), "p_rand": ("matched perturbation", "C1", "s")}
_DISTANCES = {
    "endpoint_endpoint": ("endpoint to endpoint", "C0", "o"),
    "endpoint_hull_point": ("endpoint to hull point", "C2", "^"),
    "hull_radius": ("hull radius", "C9", "v"),
    "endpoint_split": ("endpoint to $W_k$", "C3", "D"),
    "endpoint_start": ("endpoint to $W_0$", "C4", "P"),
    "split_start": ("$W_k$ to $W_0$", "C5", "X"),
    "path_length": ("length of the path", "C7", "."),
}


def figure2(rows: pd.DataFrame) -> Figure:
    """Returns Figure 2: `p_conv` and `p_rand` (top) and distances (bottom) against the split step, one column a task."""
    tasks = list(dict.fromkeys(rows["task"]))
    figure = Figure(figsize=(4.6 * len(tasks) + 2.2, 6.4), layout="constrained")
    axes = figure.subplots(2, len(tasks), sharex="col", squeeze=False)
    for (top, bottom), task in zip(axes.T, tasks, strict=True):
        own = rows[rows["task"] == task]
        top.set_title(task)
        draw_against_split(top, select(own, "p_conv", "train"), *_PROBABILITIES["p_conv"])
        draw_against_split(top, select(own, "p_rand", "train"), *_PROBABILITIES["p_rand"])
        top.set_ylim(-0.05, 1.05)
        for quantity, style in _DISTANCES.items():
            draw_against_split(bottom, select(own, quantity), *style)
        bottom.set_yscale("log")
        split_axis(bottom, own["split_step"].dropna().unique())
    axes[0, 0].set_ylabel("probability of lower training loss\nthan the nearest endpoint")
    axes[1, 0].set_ylabel("Euclidean distance")
    for axis in axes[:, -1]:
        axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    return figure


def draw_against_split(axis: Axes, rows: pd.DataFrame, label: str, colour: str, marker: str) -> None:
    """Draws a point with its interval for every trunk, and a line through the means over trunks.

    Trunks are points of their own: an interval covers the sampling of one hull, and is never pooled over trunks.
    """
    if rows.empty:
        return
    for trunk, own in rows.groupby("trunk"):
        label_once = label if trunk == rows["trunk"].min() else None
        low, high = own["low"].fillna(own["value"]), own["high"].fillna(own["value"])
        errors = [(own["value"] - low).clip(lower=0), (high - own["value"]).clip(lower=0)]
        axis.errorbar(
            own["split_step"].astype(float),
            own["value"],
            yerr=errors,
            fmt=marker,
            color=colour,
            markersize=5,
            linewidth=1,
            capsize=2,
            alpha=0.85,
            label=label_once,
        )
    means = rows.groupby("split_step")["value"].mean()
    axis.plot(means.index.astype(float), means, color=colour, linewidth=1, alpha=0.6)


def split_axis(axis: Axes, steps: Sequence[int]) -> None:
    """Makes the horizontal axis one of split steps: logarithmic from the first positive one on, linear below, 0 included."""
    ticks = sorted(int(step) for step in steps)
    positive = [step for step in ticks if step > 0]
    axis.set_xscale("symlog", linthresh=min(positive, default=1), linscale=0.5)
    axis.set_xticks(ticks, [str(tick) for tick in ticks], rotation=45 if len(ticks) > 6 else 0)
    axis.minorticks_off()
    axis.set_xlim(left=-0.1 * min(positive, default=1))
    axis.set_xlabel("split step k")
