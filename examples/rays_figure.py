"""A figure of one's own: the losses that the analysis `rays` has measured.

python -m lmc_lab.report study=rays 'figure=[rays]' --config-dir conf
"""

import pandas as pd
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import legends, split_colours, task_columns
from lmc_lab.results.select import select


def rays(rows: pd.DataFrame) -> Figure:
    """Returns training loss against the place on a ray, a line for each mode, in the colour of its split."""
    figure, columns = task_columns(rows, 1)
    colours = split_colours(select(rows, "loss_on_ray")["split_step"])
    for (axis,), own in columns:
        losses = select(own, "loss_on_ray", "train").sort_values("index")
        for (split, _), ray in losses.groupby(["split_step", "trunk"]):
            axis.plot(ray["index"], ray["value"], "o-", color=colours[split], label=f"k = {split}")
        axis.set_yscale("log")
        axis.set_xlabel("distance from the centre, in % of the endpoints'")
    columns[0][0][0].set_ylabel("training loss")
    return legends(figure, columns)
