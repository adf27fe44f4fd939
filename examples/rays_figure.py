"""A figure of one's own: the losses that the analysis `rays` has measured.

python -m lmc_lab.report study=rays 'figure=[rays]' --config-dir conf
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import Marks
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.results.select import select


def rays(rows: pd.DataFrame) -> Figure:
    """Returns training loss against the place on a ray, a column a task."""
    return compose(rows, [[_losses]])


def _losses(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Draws a line for each mode, in the colour of its split, with the symbol of its trunk."""
    losses = select(rows, "loss_on_ray", "train").sort_values("index")
    for (split, trunk), ray in losses.groupby(["split_step", "trunk"]):
        axis.plot(ray["index"], ray["value"], f"{marks.symbol(trunk)}-", color=marks.splits[split])
    marks.name(axis, splits=losses["split_step"], trunks=losses["trunk"])
    axis.set_yscale("log")
    axis.set_xlabel("distance from the centre, in % of the endpoints'")
    axis.set_ylabel("training loss")
