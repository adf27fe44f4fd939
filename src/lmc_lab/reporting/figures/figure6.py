"""Figure 6: the loss of training."""

import pandas as pd
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import legends, task_columns
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select


def draw(rows: pd.DataFrame) -> Figure:
    """Returns Figure 6: training loss of trunks and branches, with the splits marked."""
    figure, columns = task_columns(rows, 1)
    for (axis,), own in columns:
        losses = select(own, "train_loss")
        for _, curve in losses[losses["branch"].notna()].groupby(["trunk", "split_step", "branch"]):
            curve = curve.sort_values("step")
            axis.plot(curve["step"], curve["value"], color="C1", linewidth=0.5, alpha=0.25, label="branches")
        for _, curve in losses[losses["branch"].isna()].groupby("trunk"):
            curve = curve.sort_values("step")
            axis.plot(curve["step"], curve["value"], color="C0", linewidth=1.2, label="trunk")
        for step in select(own, "p_conv")["split_step"].unique():
            axis.axvline(float(step), color="grey", linewidth=0.7, linestyle=":", label="splits")
        axis.set_yscale("log")
        axis.set_xlabel("step")
    columns[0][0][0].set_ylabel("training loss")
    return legends(figure, columns)


FIGURE = ReportFigure(
    draw=draw,
    needs=("train_loss",),
    also=("p_conv",),
    caption=("Figure 6. Training loss of trunks and branches; dotted: the splits."),
)
