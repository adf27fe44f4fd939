"""The hull over time: what it is at step t of training, for branches that parted at step k."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.style import PANEL_HEIGHT, SMALL, TWO_COLUMNS
from lmc_lab.reporting.hull_maps import HULL_MAPS, HullMap, hull_table
from lmc_lab.reporting.palette import LENGTHS, SHARES
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_MOST = 7  # splits, of which a cell is wide enough for its number


def draw(rows: pd.DataFrame) -> Figure:
    """Returns three maps for each trunk, against the split k (across) and the step t of the branches (upwards)."""
    trunks = list(rows.groupby(["task", "trunk"]))
    has_tasks = rows["task"].nunique() > 1
    figure = Figure(figsize=(TWO_COLUMNS, 1.1 * PANEL_HEIGHT * len(trunks)), layout="constrained")
    axes = figure.subplots(len(trunks), len(HULL_MAPS), squeeze=False)
    for line, ((task, trunk), trunk_rows) in zip(axes, trunks, strict=True):
        for axis, kind in zip(line, HULL_MAPS, strict=True):
            hull_map(axis, trunk_rows, kind)
            axis.set_ylabel("")
        line[0].set_ylabel(f"{f'{task}, ' if has_tasks else ''}trunk {trunk}\nstep t")
    for axis in axes[:-1].flat:
        axis.set_xlabel("")
    for axis in axes[1:].flat:
        axis.set_title("")
    return figure


def hull_map(axis: Axes, rows: pd.DataFrame, kind: HullMap) -> None:
    """Draws a map of one trunk: a cell for each k and t that were measured, with its value; nothing where t <= k."""
    axis.set_title(kind.title.replace("p_conv", r"$p_{\mathrm{conv}}$"))
    axis.set_xlabel("split step k")
    axis.set_ylabel("step t")
    table = hull_table(select(rows, kind.quantity, kind.subset))
    if table.empty:
        return
    values = table.to_numpy(dtype=float)
    if not kind.is_share:
        values = np.where(values > 0, values, np.nan)  # of no length, which no scale of logarithms has
    if not np.isfinite(values).any():
        return
    norm = Normalize(0, 1) if kind.is_share else LogNorm(np.nanmin(values), np.nanmax(values))
    mesh = axis.pcolormesh(values, cmap=(SHARES if kind.is_share else LENGTHS).lower(), norm=norm)
    if values.shape[1] > _MOST:
        axis.figure.colorbar(mesh, ax=axis, fraction=0.06, pad=0.03, format="%g")
    else:
        _write_numbers(axis, values, norm)
    _label(axis, table.columns.astype(int), table.index.astype(int))


def _write_numbers(axis: Axes, values: np.ndarray, norm: Normalize) -> None:
    for row, column, value in _cells(values):
        colour = "white" if float(norm(value)) < 0.5 else "black"
        centre = (column + 0.5, row + 0.5)
        axis.text(*centre, f"{value:.2g}", ha="center", va="center", fontsize=SMALL, color=colour)


def _cells(values: np.ndarray) -> Iterator[tuple[int, int, float]]:
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            yield row, column, float(value)


def _label(axis: Axes, splits: Iterable[int], steps: Iterable[int]) -> None:
    across, upwards = [str(split) for split in splits], [str(step) for step in steps]
    axis.set_xticks([index + 0.5 for index in range(len(across))], across, rotation=45 if len(across) > _MOST else 0)
    axis.set_yticks([index + 0.5 for index in range(len(upwards))], upwards)


FIGURE = ReportFigure(
    draw=draw,
    needs=("p_conv",),
    also=("p_jensen_negative", "hull_radius"),
    over_time=True,
    caption=(
        "The hull over time: of branches that parted at step k, as they are at step t; a row a trunk, a cell a hull. Left: the "
        "probability that a random point of their hull has lower training loss than the nearest of them. Middle: the "
        "probability that its loss is below the same mean of their losses, which is convexity itself. Right: the hull's "
        "radius. Just after k it is small, the loss is nearly linear over it, and p_conv says little. Where t <= k there is "
        "no hull."
    ),
)
