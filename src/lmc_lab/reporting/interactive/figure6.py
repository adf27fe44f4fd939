"""Figure 6: the loss of training."""

import pandas as pd

from lmc_lab.reporting.onsets import trunk_curves
from lmc_lab.reporting.palette import BLUE, split_colours
from lmc_lab.reporting.panel import Panel, Series, Trace, by_trunk, log_axis, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns training loss of trunks and branches, with labels at the splits."""
    colours = split_colours(steps_in(select(rows, "train_loss")))
    panels = []
    for task, task_rows in tasks_in(rows):
        losses = select(task_rows, "train_loss")
        curves = [
            trace
            for split, colour in colours.items()
            for trace in _curves(losses[losses["split_step"].eq(split)], Series(f"branches from k = {split}", colour))
        ]
        curves += _curves(trunk_curves(task_rows), Series("trunk", BLUE))
        panels.append(
            Panel(
                title=f"{task}training loss",
                traces=curves,
                x="step",
                y="training loss",
                steps=sorted({*steps_in(select(task_rows, "p_conv")), *steps_in(losses, "step")[-1:]}),
                layout={"yaxis": log_axis(curves)},
            )
        )
    return panels


def _curves(rows: pd.DataFrame, series: Series) -> list[Trace]:
    return by_trunk(rows, series, x="step", group="branch", mode="lines")


FIGURE = ReportFigure(
    draw=draw,
    needs=("train_loss",),
    also=("initial_loss", "p_conv"),
    caption=(
        "Figure 6: the loss of training, at W_0 and as means over windows of steps. The axis has its labels at the splits and "
        "at the end."
    ),
)
