"""A panel of a figure on the page: what plotly draws, as plain JSON, and what the page may switch in it.

Python has no part in plotly here: its traces are dicts, and its JavaScript is on the page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import pandas as pd

from lmc_lab.reporting.onsets import Bracket

Trace = dict[str, Any]

_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "star", "cross")  # of trunks
_MANY, _FEW = 1000, 4  # ratios of the largest to the smallest value, which a logarithmic axis labels otherwise
APART = 0.012  # of the axis' length, by which trunks stand apart, so that their intervals do not hide each other


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plot.

    A trace's `meta` says its series and its trunk, by which the page switches it.

    Args:
        title: above it.
        traces: of plotly; their x are steps where there are `steps`, and placed by the page.
        x: label of the axis.
        y: label of the axis.
        steps: that the horizontal axis has labels at, linear or symlog at a click; None: an axis of other numbers.
        spans: of steps, shaded while one of their trunks is shown: (from, to, trunks).
        lines: values of x that are marked.
        layout: further settings of plotly's layout.
        choice: of the figure's panels only those with the choice that was made are shown; None: always.
        trunk: that all of it is of, and with which it goes; None: of several, or of none.
    """

    title: str
    traces: Sequence[Trace]
    x: str
    y: str
    steps: Sequence[int] | None = None
    spans: Sequence[Bracket] = ()
    lines: Sequence[float] = ()
    layout: Trace | None = None
    choice: str | None = None
    trunk: str | None = None

    def to_plain(self) -> dict[str, Any]:
        """Returns the panel as JSON holds it."""
        return {**vars(self), "layout": self.layout or {}}


@dataclass(frozen=True)
class Series:
    """What one quantity is called, and how it is drawn."""

    label: str
    colour: str
    dash: str = "solid"


def tasks_in(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields each task, as titles of panels begin where there are several, with its rows."""
    tasks = list(dict.fromkeys(rows["task"]))
    for task in tasks:
        yield f"{task}: " if len(tasks) > 1 else "", rows[rows["task"] == task]


def symbol_of(trunk: int) -> str:
    """Returns the symbol of a trunk, the same in all panels, also where other trunks are missing."""
    return _SYMBOLS[trunk % len(_SYMBOLS)]


def by_trunk(
    rows: pd.DataFrame,
    series: Series,
    *,
    x: str = "split_step",
    group: str | None = None,
    mode: str = "lines+markers",
    within: tuple[float, float] = (-inf, inf),
    offset: float = 0,
) -> list[Trace]:
    """Returns a trace for each trunk: values with their intervals against a column, and what they rest on to be read.

    Args:
        rows: of one task and one quantity.
        series: how they are drawn.
        x: the column.
        group: a further column; a trace has a gap between rows that differ in it.
        mode: of plotly.
        within: what a value can be; intervals end there.
        offset: how far the marks stand beside their x, in distances of neighbouring trunks.
    """
    shown = rows.assign(low=rows["low"].clip(*within), high=rows["high"].clip(*within))
    points = sorted(_points(shown), key=lambda point: (_known(point, group), _known(point, x)))
    trunks = sorted({point["trunk"] for point in points if point["trunk"] is not None})
    traces = []
    for trunk in [*trunks, *([None] if any(point["trunk"] is None for point in points) else [])]:
        number, symbol = (0, symbol_of(0)) if trunk is None else (trunks.index(trunk), symbol_of(trunk))
        middle = number if trunk is None or group else (len(trunks) - 1) / 2
        traces.append(
            {
                "type": "scatter",
                "mode": mode,
                **_trace([point for point in points if point["trunk"] == trunk], series.label, x=x, group=group),
                "hoverinfo": "text",
                "marker": {"color": series.colour, "symbol": symbol, "size": 7},
                "line": {"color": series.colour, "width": 1.2, "dash": series.dash},
                "meta": {
                    "series": series.label,
                    "trunk": None if trunk is None else f"trunk {trunk}",
                    "symbol": symbol,
                    "shift": (number - middle + offset) * APART,
                },
            }
        )
    return traces


_Point = dict[str, Any]  # a row without what is missing in it
_COLUMN_TEXTS = {
    "trunk": "trunk {}",
    "split_step": "k = {}",
    "branch": "branch {}",
    "step": "step {}",
    "index": "number {}",
    "num_samples": "{} = {}",
    "num_endpoints": "P = {}",
}


# Of these n is J, the number of hull points; of others that of endpoints, hulls or pairs of updates.
_OF_HULL_POINTS = ("p_conv", "p_rand", "p_jensen", "jensen_gap", "hull_point", "perturbation", "endpoint_hull_point")


def _points(rows: pd.DataFrame) -> list[_Point]:
    """Returns rows as plain objects, which are many times faster to go through, None where something is missing."""
    names = ["quantity", "value", "low", "high", *_COLUMN_TEXTS]
    columns = [map(_or_none, rows[name].tolist()) for name in names]
    return [dict(zip(names, point, strict=True)) for point in zip(*columns, strict=True)]


def _or_none(value: Any) -> Any:
    """Returns a number or a text, None for what stands for a missing one."""
    return value if isinstance(value, int | float | str) and value == value else None


def _known(point: _Point, name: str | None) -> tuple[bool, Any]:
    """Returns what orders points by a column; those without a value there come first."""
    value = None if name is None else point[name]
    return value is not None, value or 0


def _trace(points: Sequence[_Point], label: str, *, x: str, group: str | None) -> Trace:
    """Returns x, y, interval and text of points, with gaps."""
    shown: list[_Point | None] = []
    for point in points:
        if shown and group and shown[-1] and shown[-1][group] != point[group]:
            shown.append(None)
        shown.append(point)
    trace: Trace = {
        "x": [point and point[x] for point in shown],
        "y": [point and short(point["value"]) for point in shown],
        "text": [point and _hover_text(point, label) for point in shown],
    }
    if any(point["low"] is not None for point in points):
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [point and _beyond(point["high"], point["value"]) for point in shown],
            "arrayminus": [point and _beyond(point["value"], point["low"]) for point in shown],
            "thickness": 1.2,
            "width": 3,
        }
    return trace


def _beyond(high: float | None, low: float | None) -> float:
    """Returns the length of one side of an interval."""
    return 0.0 if high is None or low is None else short(max(high - low, 0))


def _hover_text(point: _Point, label: str) -> str:
    """Returns what one reads at a point: value, interval, trunk, k, step, J, P."""
    interval = "" if None in (point["low"], point["high"]) else f" [{point['low']:.3g}, {point['high']:.3g}]"
    is_of_hull_points = point["quantity"].startswith(_OF_HULL_POINTS) and not point["quantity"].endswith("_hulls")
    known = [
        text.format("J" if is_of_hull_points else "n", point[name])
        if name == "num_samples"
        else text.format(point[name])
        for name, text in _COLUMN_TEXTS.items()
        if point[name] is not None
    ]
    return f"<b>{label}: {point['value']:.4g}</b>{interval}<br>{', '.join(known)}"


def short(value: float) -> float:
    """Returns a number with six digits, which is what one sees of it."""
    return float(f"{value:.6g}")


def offsets(number: int) -> list[float]:
    """Returns how far from their x the marks of each of `number` series stand, so that none hides another (see `by_trunk`)."""
    return [index - (number - 1) / 2 for index in range(number)]


def log_axis(traces: Sequence[Trace], axis: str = "y") -> Trace:
    """Returns plotly's settings of a logarithmic axis for these traces, with labels that have room."""
    values = [value for trace in traces for value in trace[axis] if value is not None and value > 0]
    ratio = max(values) / min(values) if values else 1
    if ratio > _MANY:
        return {"type": "log", "dtick": 1}
    return {"type": "log", "dtick": "D2"} if ratio > _FEW else {"type": "log"}


SHARE_AXIS = {"range": [-0.05, 1.05]}  # plotly's settings of an axis of probabilities and shares


def whole_numbers(largest: float) -> Trace:
    """Returns plotly's settings of an axis of numbers of things, from 1 to the largest."""
    return {"dtick": max(1, round(largest / 8)), "tick0": 1, "range": [0.5, largest + 0.5]}
