"""What panels along training mark for the eye: splits, and brackets of onsets."""

import pandas as pd
from matplotlib.axes import Axes

from lmc_lab.reporting.figures.axes import Marks
from lmc_lab.reporting.onsets import onsets
from lmc_lab.reporting.palette import GREY
from lmc_lab.results.select import steps_in

_AT_TOP = 0.96  # of an axis' height


def mark_splits_and_onsets(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Marks splits, dotted, and the brackets of onsets, shaded."""
    splits = steps_in(rows)
    for split in splits:
        axis.axvline(split, color=marks.splits[split], linestyle=":", linewidth=0.7, zorder=0)
    marks.name(axis, splits=splits)
    shade_onsets(axis, rows, marks)


def shade_onsets(axis: Axes, rows: pd.DataFrame, marks: Marks) -> None:
    """Shades the brackets of onsets, between thin lines, with the symbols of their trunks at the top."""
    for number, (failed, held, trunks) in enumerate(onsets(rows)):
        axis.axvspan(failed, held, color=GREY, alpha=0.2, linewidth=0.7, zorder=0, label="" if number else "onset")
        for place, trunk in enumerate(trunks, 1):
            share = place / (len(trunks) + 1)  # of the bracket's width, as a logarithmic axis shows it
            middle = failed ** (1 - share) * held**share if failed else held / 2
            axis.plot(
                [middle], [_AT_TOP], marks.symbol(trunk), color=GREY, markersize=3, zorder=0,
                transform=axis.get_xaxis_transform(), scaley=False,
            )  # fmt: skip
