"""Figure 5: the functions at a hull's corners, their accuracy and their shared correct predictions."""

import pandas as pd
from matplotlib.figure import Figure

from lmc_lab.reporting.figures.axes import Style, draw_against_split, legends, split_axis, task_columns
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_KINDS = {"endpoint": "C3", "hull_point": "C0", "centre": "C4", "perturbation": "C1"}
_SUBSETS = {"train": ("o", "-"), "test": ("s", "--")}
_SHARES = {
    "endpoint_accuracy": Style("mean accuracy of endpoints", "C3", "o"),
    "intra_mode": Style("right by all of a mode, $|S_j|$", "C0", "s"),
    "inter_mode": Style("right by all of all modes, $|S^*|$", "C2", "D"),
    "equal_count_control": Style("as many, drawn from all modes", "C7", "x", ":"),
}


def draw(rows: pd.DataFrame) -> Figure:
    """Returns Figure 5: accuracies (top), and the share of examples that endpoints have right in common (bottom)."""
    figure, columns = task_columns(rows, 2)
    for (top, bottom), own in columns:
        for kind, colour in _KINDS.items():
            for subset, (marker, line) in _SUBSETS.items():
                style = Style(f"{kind.replace('_', ' ')}, {subset}", colour, marker, line)
                draw_against_split(top, select(own, f"{kind}_accuracy", subset), style)
        for quantity, style in _SHARES.items():
            draw_against_split(bottom, select(own, quantity, "train"), style)
        split_axis(bottom, select(own, "p_conv"))
    columns[0][0][0].set_ylabel("accuracy")
    columns[0][0][1].set_ylabel("share of the training set")
    return legends(figure, columns)


FIGURE = ReportFigure(
    draw=draw,
    needs=("endpoint_accuracy",),
    also=(*(f"{kind}_accuracy" for kind in _KINDS), *_SHARES, "p_conv"),
    caption=(
        "Figure 5. Accuracies, and the share of the training set that all endpoints of a mode, of all modes, and of as "
        "many endpoints drawn from all modes have right."
    ),
)
