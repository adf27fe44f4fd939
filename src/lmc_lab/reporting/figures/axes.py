"""What all figures share: one column a task, split steps on a symlog axis, a point a trunk."""

import re
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from math import inf

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Style:
    """How one quantity is drawn."""

    label: str
    colour: str
    marker: str = "o"
    line: str = "-"


PROBABILITIES = {"p_conv": Style("hull point", "C0", "o"), "p_rand": Style("matched perturbation", "C1", "s")}


def task_columns(
    rows: pd.DataFrame, num_rows: int, *, share_x: bool = True
) -> tuple[Figure, list[tuple[list[Axes], pd.DataFrame]]]:
    """Returns a figure with one column of `num_rows` axes for every task, and each column with its task's rows."""
    tasks = list(dict.fromkeys(rows["task"]))
    figure = Figure(figsize=(4.6 * len(tasks) + 2.4, 2.9 * num_rows + 0.5), layout="constrained")
    axes = figure.subplots(num_rows, len(tasks), sharex="col" if share_x else False, squeeze=False)
    columns = []
    for column, task in zip(axes.T, tasks, strict=True):
        column[0].set_title(task)
        columns.append((list(column), rows[rows["task"] == task]))
    return figure, columns


def note(axis: Axes, text: str) -> None:
    """Writes into the middle of an axis why nothing, or less than expected, is drawn there."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color="grey", fontsize=9)


def legends(figure: Figure, columns: list[tuple[list[Axes], pd.DataFrame]]) -> Figure:
    """Puts the legend of each row of axes beside its last column, from the first column that has entries.

    An axis without data, and without a note of its own, says so.
    """
    for axes, _ in columns:
        for axis in axes:
            if not axis.has_data() and not axis.texts:
                note(axis, "does not exist for this task,\nor was not measured")
    for row, last in enumerate(columns[-1][0]):
        entries: dict[str, Artist] = {}
        for axes, _ in columns:
            for handle, label in zip(*axes[row].get_legend_handles_labels(), strict=True):
                entries.setdefault(label, handle)
        if entries:
            labels = sorted(entries, key=_split_of)
            last.legend(
                [entries[label] for label in labels],
                labels,
                loc="center left",
                bbox_to_anchor=(1.02, 0.5),
                frameon=False,
            )
    return figure


def _split_of(label: str) -> float:
    """Returns the k that a label ends with; labels without one come last, in their order."""
    match = re.search(r"k = (\d+)$", label)
    return int(match[1]) if match else inf


def draw_against_split(axis: Axes, rows: pd.DataFrame, style: Style) -> None:
    """Draws `value` against `split_step`: a point with its interval for every trunk, a line through the trunks' means.

    An interval covers the sampling of one hull; trunks are never pooled with it.
    """
    draw_points(axis, rows, "split_step", style)


def draw_points(axis: Axes, rows: pd.DataFrame, column: str, style: Style) -> None:
    """Draws `value` with its interval against `column`, a point for every trunk; nothing if there are no rows."""
    if rows.empty:
        return
    for own, label in _by_trunk(rows, style.label):
        low, high = own["low"].fillna(own["value"]), own["high"].fillna(own["value"])
        axis.errorbar(
            own[column].astype(float),
            own["value"],
            yerr=[(own["value"] - low).clip(lower=0), (high - own["value"]).clip(lower=0)],
            fmt=style.marker,
            color=style.colour,
            markersize=5,
            linewidth=1,
            capsize=2,
            alpha=0.85,
            label=label,
        )
    means = rows.groupby(column)["value"].mean()
    axis.plot(means.index.astype(float), means, style.line, color=style.colour, linewidth=1, alpha=0.6)


SplitColours = dict[Hashable, tuple[float, float, float]]


def split_colours(splits: Iterable[int]) -> SplitColours:
    """Returns a colour for each split step of all tasks, from blue for the earliest to red for the latest."""
    ordered = sorted(set(splits))
    shades = [0.85 * number / max(len(ordered) - 1, 1) for number in range(len(ordered))]
    return {split: (shade, 0.3, 1 - shade) for split, shade in zip(ordered, shades, strict=True)}


def _by_trunk(rows: pd.DataFrame, label: str) -> Iterator[tuple[pd.DataFrame, str | None]]:
    """Yields the rows of each trunk, with a label for the first only."""
    for number, (_, own) in enumerate(rows.groupby("trunk", dropna=False)):
        yield own, label if number == 0 else None


def step_axis(axis: Axes, steps: Collection[int], label: str) -> None:
    """Makes the horizontal axis one of steps: logarithmic from the first positive one on, linear below, with 0."""
    ticks = sorted(int(step) for step in steps)
    first = min((step for step in ticks if step > 0), default=1)
    axis.set_xscale("symlog", linthresh=first, linscale=0.5)
    axis.set_xticks(ticks, [str(tick) for tick in ticks], rotation=45 if len(ticks) > 5 else 0)
    axis.minorticks_off()
    axis.set_xlim(left=-0.1 * first)
    axis.set_xlabel(label)


def split_axis(axis: Axes, rows: pd.DataFrame) -> None:
    """Makes the horizontal axis one of the split steps in `rows`."""
    step_axis(axis, rows["split_step"].dropna().unique(), "split step k")
