"""What figures for papers draw on given axes: points with intervals, a mark for each trunk, steps on a symlog axis."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log10
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from lmc_lab.reporting.figures.style import SMALL
from lmc_lab.reporting.palette import GREY, split_colours

_SYMBOLS = ("o", "D", "^", "v", "P", "X")  # of trunks
_OF_ALL = "s"  # of what belongs to no trunk or to all of them
_APART, _WIDEST = 2.6, 11.0  # points, between neighbours and between the first and the last of those at one step
_MANY = 5  # steps, with more of which their labels are turned
_MOST_LABELS = 20  # turned ones, along an axis of one column
_NEAR_ZERO = 0.5  # decades, that the linear part of a step axis takes
_MARGIN = 0.09  # of a step axis, on either side, where what stands side by side has room
ABOUT_TRUNKS = (
    "Each symbol is a trunk, and its line leads through it; trunks and series stand side by side at each step."
)


@dataclass(frozen=True)
class Style:
    """How one quantity is drawn; an empty label is in no legend."""

    label: str
    colour: str
    line: str = "-"


@dataclass(frozen=True)
class Marks:
    """How splits and trunks are told apart, in all panels of a figure alike.

    Args:
        splits: the colour of each split step.
        trunks: the symbol of each trunk.
    """

    splits: Mapping[Any, str]
    trunks: Mapping[int, str]

    @classmethod
    def of(cls, rows: pd.DataFrame) -> "Marks":
        """Returns the marks of all splits and trunks in `rows`."""
        trunks = _known(rows["trunk"])
        return cls(
            split_colours(_known(rows["split_step"])),
            {trunk: _SYMBOLS[number % len(_SYMBOLS)] for number, trunk in enumerate(trunks)},
        )

    def symbol(self, trunk: Any) -> str:
        """Returns the symbol of a trunk, of which there may be none."""
        return _OF_ALL if pd.isna(trunk) else self.trunks[int(trunk)]

    def name(self, axis: Axes, *, splits: Iterable[Any] = (), trunks: Iterable[Any] = ()) -> None:
        """Adds entries to the legend: for splits, and for trunks where there are several to be told apart."""
        for split in _known(splits):
            axis.plot([], [], color=self.splits[split], label=f"k = {split}")
        for trunk in _known(trunks) if len(self.trunks) > 1 else ():
            axis.plot([], [], self.symbol(trunk), color=GREY, label=f"trunk {trunk}")


def _known(numbers: Iterable[Any]) -> list[int]:
    return sorted({int(number) for number in numbers if not pd.isna(number)})


def note(axis: Axes, text: str) -> None:
    """Writes into the middle of an axis why nothing, or less than expected, is drawn there."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color="dimgrey", fontsize=SMALL)


def say_what_is_empty(axis: Axes) -> None:
    """Writes into an axis without data, and without a note of its own, that there is none."""
    if not axis.has_data() and not axis.texts:
        note(axis, "does not exist for this task,\nor was not measured")


def draw_against_split(
    axis: Axes,
    series: Mapping[Style, pd.DataFrame],
    marks: Marks,
    *,
    within: tuple[float, float] = (-inf, inf),
    apart: float = 1,
) -> None:
    """Draws `value` with its interval against `split_step`, as `draw_points` does."""
    draw_points(axis, "split_step", series, marks, within=within, apart=apart)
    steps = {step for rows in series.values() for step in rows["split_step"].dropna()}
    step_axis(axis, steps, "split step k")


def draw_points(
    axis: Axes,
    column: str,
    series: Mapping[Style, pd.DataFrame],
    marks: Marks,
    *,
    within: tuple[float, float] = (-inf, inf),
    apart: float = 1,
) -> None:
    """Draws `value` with its interval against `column`, a line for every series and trunk.

    Series and trunks at the same value of `column` are moved side by side, by points of the page, so that no interval hides
    another. Trunks are never pooled: an interval covers what was drawn of one trunk.

    Args:
        axis: that is drawn on.
        column: of the rows, that is drawn against.
        series: the rows of each.
        marks: of the trunks.
        within: what a value can be; intervals end there.
        apart: how many times as far as usual they are moved, where the values of `column` are far from each other.
    """
    drawn = [(style, rows) for style, rows in series.items() if not rows.empty]
    for style in (style for style, _ in drawn if style.label):
        axis.plot([], [], style.line, color=style.colour, label=style.label)
    lines = [
        (trunk, number, style, trunk_rows.sort_values(column, kind="stable"))
        for number, (style, rows) in enumerate(drawn)
        for trunk, trunk_rows in rows.groupby("trunk", dropna=False)
    ]
    lines.sort(key=lambda line: (pd.isna(line[0]), 0 if pd.isna(line[0]) else line[0], line[1]))
    for shift, (trunk, _, style, trunk_rows) in zip(_side_by_side(len(lines)), lines, strict=True):
        low, high = (
            trunk_rows["low"].fillna(trunk_rows["value"]).clip(*within),
            trunk_rows["high"].fillna(trunk_rows["value"]).clip(*within),
        )
        drawn_line = axis.errorbar(
            trunk_rows[column].astype(float),
            trunk_rows["value"],
            yerr=[(trunk_rows["value"] - low).clip(lower=0), (high - trunk_rows["value"]).clip(lower=0)],
            marker=marks.symbol(trunk),
            linestyle=style.line,
            color=style.colour,
            elinewidth=0.7,
            clip_on=False,
        )
        for artist in drawn_line.get_children():  # moved once the axis has seen where they are
            artist.set_transform(
                axis.transData + ScaledTranslation(apart * shift / 72, 0, _figure_of(axis).dpi_scale_trans)
            )
    marks.name(axis, trunks=(trunk for trunk, *_ in lines))


def _side_by_side(number: int) -> list[float]:
    """Returns by how many points each of a number of things is moved."""
    apart = min(_APART, _WIDEST / max(number - 1, 1))
    return [apart * (index - (number - 1) / 2) for index in range(number)]


def _figure_of(axis: Axes) -> Figure:
    figure = axis.get_figure(root=True)
    assert figure is not None
    return figure


def step_axis(axis: Axes, steps: Collection[float], label: str) -> None:
    """Makes the horizontal axis one of steps: logarithmic from the first positive one on, linear below.

    Each has a tick, and a label where the one before leaves room for it; of many, those with a label have one.
    """
    axis.set_xlabel(label)
    ticks = sorted({int(step) for step in steps})
    if not ticks:
        return
    first = min((step for step in ticks if step > 0), default=1)
    last = max(ticks[-1], first)
    axis.set_xscale("symlog", linthresh=first, linscale=_NEAR_ZERO)
    turned: dict[str, Any] = {"rotation": 45, "rotation_mode": "anchor", "ha": "right", "va": "center_baseline"}
    labels = dict(zip(ticks, _labels(ticks, first), strict=True))
    if len(ticks) > _MOST_LABELS:
        labels = {tick: label for tick, label in labels.items() if label}
    axis.set_xticks(list(labels), list(labels.values()), **(turned if len(ticks) > _MANY else {}))
    axis.minorticks_off()
    margin = _MARGIN * (log10(last / first) + _NEAR_ZERO)  # decades
    axis.set_xlim(-margin / _NEAR_ZERO * first if ticks[0] == 0 else ticks[0] / 10**margin, last * 10**margin)


def log_axis(axis: Axes) -> None:
    """Makes the vertical axis logarithmic; bars that reach 0 or below have no end there but that of the axis.

    It comes behind `step_axis`, which takes the minor ticks away.
    """
    axis.set_yscale("log")
    bars = [container for container in axis.containers if isinstance(container, ErrorbarContainer)]
    segments = [np.asarray(segment) for bar in bars for lines in bar.lines[2] for segment in lines.get_segments()]
    heights = np.concatenate([segment[:, 1] for segment in segments]) if segments else np.ones(1)
    if (heights > 0).all():
        return
    floor = heights[heights > 0].min() / 2
    for bar in bars:
        for cap in bar.lines[1]:
            ends = np.asarray(cap.get_ydata(), dtype=float)
            cap.set_ydata(np.where(ends > 0, ends, np.nan))
        for lines in bar.lines[2]:
            lines.set_segments(
                [np.maximum(segment, [-inf, floor]) for segment in map(np.asarray, lines.get_segments())]
            )
    axis.set_ylim(floor, heights.max() * 1.3)


def _labels(ticks: Sequence[int], first: int) -> list[str]:
    """Returns the label of each tick, empty where it would lie on the last that is not."""
    positions = [_NEAR_ZERO * tick / first if tick <= first else _NEAR_ZERO + log10(tick / first) for tick in ticks]
    room, last, labels = (positions[-1] - positions[0]) / _MOST_LABELS, -inf, []
    for tick, position in zip(ticks, positions, strict=True):
        has_room = position - last >= room
        labels.append(str(tick) if has_room else "")
        last = position if has_room else last
    return labels
