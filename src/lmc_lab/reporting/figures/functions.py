"""The functions at a hull's corners: accuracy and shared correct predictions (Figure 5)."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmc_lab.reporting.figures.axes import Style, draw_against_split, legends, split_axis, split_colours, task_columns
from lmc_lab.reporting.select import select

_KINDS = {"endpoint": "C3", "hull_point": "C0", "centre": "C4", "perturbation": "C1"}
_SUBSETS = {"train": ("o", "-"), "test": ("s", "--")}


def figure5(rows: pd.DataFrame) -> Figure:
    """Returns Figure 5: accuracies (top), and the share of examples that endpoints have right in common (bottom)."""
    figure, columns = task_columns(rows, 2)
    for (top, bottom), own in columns:
        for kind, colour in _KINDS.items():
            for subset, (marker, line) in _SUBSETS.items():
                style = Style(f"{kind.replace('_', ' ')}, {subset}", colour, marker, line)
                draw_against_split(top, select(own, f"{kind}_accuracy", subset), style)
        for quantity, style in {
            "endpoint_accuracy": Style("mean accuracy of endpoints", "C3", "o"),
            "intra_mode": Style("right by all of a mode, $|S_j|$", "C0", "s"),
            "inter_mode": Style("right by all of all modes, $|S^*|$", "C2", "D"),
            "equal_count_control": Style("as many, drawn from all modes", "C7", "x", ":"),
        }.items():
            draw_against_split(bottom, select(own, quantity, "train"), style)
        split_axis(bottom, select(own, "p_conv"))
    columns[0][0][0].set_ylabel("accuracy")
    columns[0][0][1].set_ylabel("share of the training set")
    return legends(figure, columns)


def shared_correct(rows: pd.DataFrame) -> Figure:
    """Returns |S_j| against the number of endpoints, training set (top) and test set (bottom), a line a split."""
    figure, columns = task_columns(rows, 2)
    colours = split_colours(select(rows, "shared_correct")["split_step"])
    for axes, own in columns:
        for axis, subset in zip(axes, _SUBSETS, strict=True):
            shares = select(own, "shared_correct", subset)
            for split, of_split in shares.groupby("split_step"):
                line = of_split.groupby("index")["value"].mean()
                axis.plot(line.index, line, ".-", color=colours[split], label=f"k = {split}")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[-1].set_xlabel("number of endpoints")
    for axis, subset in zip(columns[0][0], _SUBSETS, strict=True):
        axis.set_ylabel(f"share right by all, {subset}")
    return legends(figure, columns)
