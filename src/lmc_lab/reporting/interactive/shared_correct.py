"""How many examples all of a number of endpoints have right."""

import pandas as pd

from lmc_lab.reporting.palette import split_colours
from lmc_lab.reporting.panel import Panel, Series, by_trunk, tasks_in, whole_numbers
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in

_SUBSETS = {"train": "training set", "test": "test set"}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns |S_j| against the number of endpoints, a line a split and trunk."""
    colours = split_colours(steps_in(rows))
    return [
        Panel(
            title=f"{task}right by all, {name}",
            traces=[
                trace
                for split in steps_in(chosen)
                for of_split in [chosen[chosen["split_step"] == split]]
                for trace in by_trunk(of_split, Series(f"k = {split}", colours[split]), x="index", group="split_step")
            ],
            x="number of endpoints",
            y="share of examples",
            layout={"xaxis": whole_numbers(float(chosen["index"].max()))},
        )
        for task, task_rows in tasks_in(rows)
        for subset, name in _SUBSETS.items()
        for chosen in [select(task_rows, "shared_correct", subset)]
        if not chosen.empty
    ]


FIGURE = ReportFigure(
    draw=draw,
    needs=("shared_correct",),
    caption=(
        "Right in common against the number of endpoints. The share of examples that all of a number of endpoints of a "
        "mode have right, the mean over which endpoints these are. It falls the faster, the more the functions differ."
    ),
)
