"""The hull over time: what it is at step t of training, for branches that parted at step k."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from lmc_lab.reporting.hull_maps import HULL_MAPS, HullMap, hull_table
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select


def draw(rows: pd.DataFrame) -> Figure:
    """Returns three maps for each trunk, against the split k (across) and the step t of the branches (upwards)."""
    trunks = list(rows.groupby(["task", "trunk"]))
    figure = Figure(figsize=(4.2 * len(trunks) + 1.2, 3.2 * len(HULL_MAPS)), layout="constrained")
    axes = figure.subplots(len(HULL_MAPS), len(trunks), squeeze=False)
    for column, ((task, trunk), own) in zip(axes.T, trunks, strict=True):
        column[0].set_title(f"{task}, trunk {trunk}")
        for axis, each in zip(column, HULL_MAPS, strict=True):
            _draw_map(axis, own, each)
    for axis, each in zip(axes[:, 0], HULL_MAPS, strict=True):
        axis.set_ylabel(f"{each.title.replace('p_conv', '$p_{conv}$')}\n\nstep t")
    for axis in axes[-1]:
        axis.set_xlabel("split step k")
    return figure


def _draw_map(axis: Axes, rows: pd.DataFrame, which: HullMap) -> None:
    """Draws one map: a cell for each k and t that were measured, with its value; nothing where t <= k."""
    table = hull_table(select(rows, which.quantity, which.subset))
    if table.empty:
        return
    values = table.to_numpy(dtype=float)
    norm = Normalize(0, 1) if which.is_share else LogNorm(np.nanmin(values), np.nanmax(values))
    mesh = axis.pcolormesh(values, cmap="cividis" if which.is_share else "magma", norm=norm)
    for row, column, value in _cells(values):
        is_dark = float(norm(value)) < 0.5
        axis.text(
            column + 0.5,
            row + 0.5,
            f"{value:.2g}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if is_dark else "black",
        )
    _label(axis, table.columns.astype(int), table.index.astype(int))
    axis.figure.colorbar(mesh, ax=axis)


def _cells(values: np.ndarray) -> Iterator[tuple[int, int, float]]:
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            yield row, column, float(value)


def _label(axis: Axes, splits: Iterable[int], steps: Iterable[int]) -> None:
    across, upwards = [str(split) for split in splits], [str(step) for step in steps]
    axis.set_xticks([place + 0.5 for place in range(len(across))], across, rotation=45)
    axis.set_yticks([place + 0.5 for place in range(len(upwards))], upwards)


FIGURE = ReportFigure(
    draw=draw,
    needs=("p_conv",),
    also=("p_jensen_negative", "hull_radius"),
    over_time=True,
    caption=(
        "The hull over time: of branches that parted at step k, as they are at step t. Top: the probability that a random "
        "point of their hull has lower training loss than the nearest of them. Middle: the probability that its loss is "
        "below the same mean of their losses, which is convexity itself. Bottom: the hull's radius: just after k it is "
        "small, the loss is nearly linear over it, and p_conv says little. Where t <= k there is no hull."
    ),
)
