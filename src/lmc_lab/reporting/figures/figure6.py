"""Figure 6: the loss of training."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import Marks
from lmc_lab.reporting.figures.layout import compose
from lmc_lab.reporting.onsets import trunk_curves
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in


def draw(rows: pd.DataFrame) -> Figure:
    """Returns Figure 6: training loss of trunks and branches, a panel for each trunk."""
    trunks = sorted(select(rows, "train_loss")["trunk"].dropna().unique())
    return compose(rows, [[partial(train_loss, trunk=trunk)] for trunk in trunks])


def train_loss(axis: Axes, rows: pd.DataFrame, marks: Marks, *, trunk: int) -> None:
    """Draws the training loss of a trunk and of its branches, which have the colour of their split."""
    losses = select(rows, "train_loss").query("trunk == @trunk").sort_values("step", kind="stable")
    along = trunk_curves(rows).query("trunk == @trunk")
    axis.set_xlabel("step")
    axis.set_ylabel(f"training loss, trunk {trunk}")
    if losses.empty:
        return
    branches = losses[losses["branch"].notna()]
    for (split, _), curve in branches.groupby(["split_step", "branch"]):
        axis.plot(curve["step"], curve["value"], color=marks.splits[split], linewidth=0.5, alpha=0.6)
    if not along.empty:
        axis.plot(along["step"], along["value"], color="black", label="trunk")
    splits = steps_in(select(rows, "p_conv"))
    for split in splits:
        axis.axvline(split, color=marks.splits[split], linestyle=":", zorder=0)
    marks.name(axis, splits=[*splits, *branches["split_step"]])
    axis.set_yscale("log")
    axis.set_xlim(0, 1.02 * losses["step"].max())


FIGURE = ReportFigure(
    draw=draw,
    needs=("train_loss",),
    also=("initial_loss", "p_conv"),
    caption=(
        "Figure 6. Training loss of each trunk (black) and of its branches, in the colour of their split k (dotted): at W_0, "
        "and means over windows of steps."
    ),
)
