"""What panels along training mark for the eye: splits, and brackets of onsets."""

import pandas as pd
from matplotlib.axes import Axes

from lmc_lab.reporting.figures.axes import Marks
from lmc_lab.reporting.onsets import onsets, splits_in
from lmc_lab.reporting.palette import GREY


def mark_splits_and_onsets(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Marks splits, dotted, and the brackets of onsets, shaded."""
    splits = splits_in(rows)
    for split in splits:
        axis.axvline(split, color=marks.splits[split], linestyle=":", linewidth=0.7, zorder=0)
    marks.name(axis, splits=splits)
    shade_onsets(axis, rows)


def shade_onsets(axis: Axes, rows: pd.DataFrame) -> None:
    """Shades the brackets of onsets."""
    for number, (failed, held, _) in enumerate(onsets(rows)):
        axis.axvspan(failed, held, color=GREY, alpha=0.2, linewidth=0, zorder=0, label="" if number else "onset")
