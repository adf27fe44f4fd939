"""The hull over time: what it is at step t of training, for branches that parted at step k."""

from math import isfinite, log10

import pandas as pd

from lmc_lab.reporting.hull_maps import HULL_MAPS, HullMap, hull_table
from lmc_lab.reporting.palette import LENGTHS, SHARES
from lmc_lab.reporting.panel import Panel, Trace, short, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_CATEGORIES = {"type": "category", "showgrid": False}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns three maps for each trunk, against the split k (across) and the step t of the branches (upwards)."""
    return [
        Panel(
            title=f"{task}{kind.title}, trunk {trunk}",
            traces=[_map(chosen, kind)],
            x="split step k",
            y="step t of the branches",
            layout={"xaxis": _CATEGORIES, "yaxis": _CATEGORIES},
            trunk=f"trunk {trunk}",
        )
        for task, task_rows in tasks_in(rows)
        for kind in HULL_MAPS
        for trunk, chosen in select(task_rows, kind.quantity, kind.subset).groupby("trunk")
    ]


def _map(rows: pd.DataFrame, kind: HullMap) -> Trace:
    """Returns a cell for each k and t that were measured, with its value; nothing where t <= k."""
    table = hull_table(rows)
    splits, steps = [int(split) for split in table.columns], [int(step) for step in table.index]
    values = [[float(value) for value in line] for line in table.to_numpy(dtype=float)]
    trace: Trace = {
        "type": "heatmap",
        "name": kind.title,
        "x": [str(split) for split in splits],
        "y": [str(step) for step in steps],
        "z": [[_height(value, kind.is_share) for value in line] for line in values],
        "text": [[f"{value:.2g}" if isfinite(value) else "" for value in line] for line in values],
        "texttemplate": "%{text}",
        "customdata": _intervals(rows, splits, steps),
        "hovertemplate": f"<b>{kind.title}: %{{text}}</b>%{{customdata}}<br>k = %{{x}}, t = %{{y}}<extra></extra>",
        "hoverongaps": False,
        "colorscale": SHARES if kind.is_share else LENGTHS,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    return trace | ({"zmin": 0, "zmax": 1} if kind.is_share else {})


def _height(value: float, is_share: bool) -> float | None:
    """Returns what the colour of a cell stands for: of lengths the logarithm."""
    if not isfinite(value):
        return None
    return short(value if is_share else log10(max(value, 1e-30)))


def _intervals(rows: pd.DataFrame, splits: list[int], steps: list[int]) -> list[list[str]]:
    """Returns what is read in each cell besides its value."""
    read = {
        (int(step), int(split)): ("" if pd.isna(low) else f" [{low:.2f}, {high:.2f}]")
        + ("" if pd.isna(samples) else f"<br>J = {samples}, P = {endpoints}")
        for step, split, low, high, samples, endpoints in rows[
            ["step", "split_step", "low", "high", "num_samples", "num_endpoints"]
        ].itertuples(index=False)
    }
    return [[read.get((step, split), "") for split in splits] for step in steps]


FIGURE = ReportFigure(
    draw=draw,
    needs=("p_conv",),
    also=("p_jensen_negative", "hull_radius"),
    over_time=True,
    caption=(
        "The hull over time. Of branches that parted at step k (across), as they are at step t (upwards): the probability "
        "that a random point of their hull has lower training loss than the nearest of them; that its loss is below the "
        "same mean of their losses, which is convexity itself; and the hull's radius. Just after k the hull is small, the "
        "loss nearly linear over it, and p_conv says little. Where t <= k there is no hull."
    ),
)
