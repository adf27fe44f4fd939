"""Panels on a sheet: the widths of a paper's columns, a column a task, legends below their rows."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import ceil

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, SubplotSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lmc_lab.reporting.figures.axes import Marks, say_what_is_empty
from lmc_lab.reporting.figures.style import ONE_COLUMN, PANEL_HEIGHT, SMALL, TWO_COLUMNS
from lmc_lab.results.select import select_any

Panel = Callable[[Axes, pd.DataFrame, Marks], None]
_LINE = 0.14  # inches, of a legend
_LETTER, _HANDLE = 0.54 * SMALL / 72, 0.32  # inches, of a letter and of what stands before a label
Entries = dict[str, Artist]


def compose(rows: pd.DataFrame, panels: Sequence[Sequence[Panel]], *, wide: bool = False) -> Figure:
    """Returns a figure of panels.

    Args:
        rows: of all tasks.
        panels: in rows, as one task has them; several tasks have a column each, with all panels one below the other.
        wide: whether a single panel takes both columns of a paper.
    """
    tasks = {str(task): task_rows for task, task_rows in rows.groupby("task", sort=True)}
    if len(tasks) == 1:
        return _filled([[(panel, rows) for panel in line] for line in panels], Marks.of(rows), wide=wide)
    lines = [[(panel, task_rows) for task_rows in tasks.values()] for line in panels for panel in line]
    return _filled(lines, Marks.of(rows), list(tasks), wide=wide)


def measured(rows: pd.DataFrame, lines: Mapping[tuple[str, ...], Sequence[Panel]]) -> list[Sequence[Panel]]:
    """Returns the lines of panels, which are given by what they draw, of which `rows` have anything."""
    return [panels for quantities, panels in lines.items() if not select_any(rows, quantities).empty]


def _filled(
    lines: Sequence[Sequence[tuple[Panel, pd.DataFrame]]], marks: Marks, titles: Sequence[str] = (), *, wide: bool
) -> Figure:
    across = max(map(len, lines))
    figure = Figure(layout=ConstrainedLayoutEngine(h_pad=0.02, w_pad=0.02, hspace=0, wspace=0))
    grid = GridSpec(2 * len(lines) + 1, across, figure=figure)  # each line with its legend, and one of the figure
    legends = []
    for number, line in enumerate(lines):
        axes = [figure.add_subplot(cell) for cell in _cells(grid, 2 * number, len(line), across)]
        for column, (axis, (panel, task_rows)) in enumerate(zip(axes, line, strict=True)):
            panel(axis, task_rows, marks)
            if titles and number == 0:
                axis.set_title(titles[column])
            if titles and column > 0:
                axis.set_ylabel("")
            say_what_is_empty(axis)
        legends.append(_entries(axes))
    return _with_legends(figure, grid, legends, TWO_COLUMNS if wide or across > 1 else ONE_COLUMN)


def _cells(grid: GridSpec, row: int, number: int, across: int) -> list[SubplotSpec]:
    """Returns the cells of the grid for a number of panels in a row; the last has what is left."""
    return [grid[row, column] for column in range(number - 1)] + [grid[row, number - 1 : across]]


def _entries(axes: Sequence[Axes]) -> Entries:
    entries: Entries = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return entries


def _with_legends(figure: Figure, grid: GridSpec, legends: Sequence[Entries], width: float) -> Figure:
    """Gives each row of panels the legend of what is there alone, and the figure one of what is in several.

    What would be the only entry of its row is in the figure's legend, too.
    """
    labels = [label for entries in legends for label in entries]
    only_here = [[label for label in entries if labels.count(label) == 1] for entries in legends]
    of_rows = {label for names in only_here if len(names) > 1 for label in names}
    shared = {label: entries[label] for entries in legends for label in entries if label not in of_rows}
    alone = [{label: entries[label] for label in entries if label not in shared} for entries in legends]
    heights: list[float] = []
    for number, entries in enumerate(alone):
        heights += [PANEL_HEIGHT, _legend(figure, grid, 2 * number + 1, entries, width)]
    heights.append(_legend(figure, grid, 2 * len(legends), shared, width))
    grid.set_height_ratios([max(height, 1e-3) for height in heights])
    figure.set_size_inches(width, sum(heights))
    return figure


def _legend(figure: Figure, grid: GridSpec, row: int, entries: Mapping[str, Artist], width: float) -> float:
    """Draws a legend across the figure, and returns the height that it takes, in inches."""
    if not entries:
        return 0.0
    labels = sorted(entries, key=_order)
    longest = max(len(re.sub(r"\\\w+|[${}_^]", "", label)) for label in labels)
    columns = min(len(labels), max(1, int((width - 0.1) / (longest * _LETTER + _HANDLE))))
    lines = ceil(len(labels) / columns)
    columns = ceil(len(labels) / lines)  # as many entries in each line
    axis = figure.add_subplot(grid[row, :])
    axis.set_axis_off()
    axis.legend([entries[label] for label in labels], labels, loc="center", ncols=columns)
    return lines * _LINE + 0.06


def _order(label: str) -> tuple[int, int]:
    """Returns what orders entries: series as they come, then splits by their k, then trunks by their number."""
    match = re.fullmatch(r"(k =|trunk) (\d+)", label)
    return (0, 0) if match is None else (1 + (match[1] == "trunk"), int(match[2]))
