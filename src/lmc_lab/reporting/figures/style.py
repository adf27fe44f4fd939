"""How figures for papers look: as wide as a paper's columns, with letters of 7 and 8 points at that width."""

from typing import Any

ONE_COLUMN, TWO_COLUMNS = 3.3, 6.75  # inches, of a page of two columns as conferences have it
PANEL_HEIGHT = 1.8  # inches, of the text around it, too
SMALL = 7  # points, of what is not a label of an axis

PAPER: Any = {  # settings of matplotlib, whose names are a type of its own
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.2,
    "legend.labelspacing": 0.25,
    "legend.borderpad": 0,
    "axes.linewidth": 0.6,
    "axes.labelpad": 2,
    "axes.titlepad": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "ytick.minor.size": 1.5,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 0.9,
    "lines.markersize": 3.2,
    "errorbar.capsize": 1.2,
}
