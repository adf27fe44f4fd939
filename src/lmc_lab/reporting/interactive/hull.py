"""The hull itself: endpoints, W_k and hull points on the plane of their first two principal directions, with the loss."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any, NamedTuple

import pandas as pd

from lmc_lab.reporting.palette import LENGTHS, RED
from lmc_lab.reporting.panel import Panel, Trace, short, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select

_KINDS = ("endpoint", "hull_point", "grid", "split")
Place = tuple[float, float]
_LENGTHS = {"zeroline": False, "constrain": "domain"}  # both axes have one scale, and end where the grid does


class Point(NamedTuple):
    """A place on the plane, and the loss of what is drawn there."""

    x: float
    y: float
    loss: float
    number: int


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns a map for each mode; of one split at a time."""
    return [
        Panel(
            title=f"{task}{_mode(trunk, split)}the plane holds {_share(mode_rows):.0%} of the endpoints' variance",
            traces=_traces(mode_rows),
            x="first principal direction",
            y="second",
            layout={"xaxis": _LENGTHS, "yaxis": {**_LENGTHS, "scaleanchor": "x"}},
            choice=_choice(split),
            trunk=_trunk(trunk),
        )
        for task, of_task in tasks_in(rows)
        for (split, trunk), mode_rows in of_task.groupby(["split_step", "trunk"], dropna=False)
    ]


def _mode(trunk: Any, split: Any) -> str:
    return "" if pd.isna(split) else f"trunk {trunk}, k = {split}: "


def _trunk(trunk: Any) -> str | None:
    return None if pd.isna(trunk) else f"trunk {trunk}"


def _choice(split: Any) -> str:
    return "weights from elsewhere" if pd.isna(split) else f"k = {split}"


def _share(rows: pd.DataFrame) -> float:
    return float(select(rows, "plane_share")["value"].iloc[-1])


def _traces(rows: pd.DataFrame) -> list[Trace]:
    values = _values(rows)
    points = {kind: _points(values, kind) for kind in _KINDS}
    heights = [_height(point.loss) for of_kind in points.values() for point in of_kind]
    colours = {"zmin": min(heights), "zmax": max(heights), "colorscale": LENGTHS}
    as_markers = {"cmin": colours["zmin"], "cmax": colours["zmax"], "colorscale": LENGTHS}
    traces = [_contours(points["grid"], colours), _edge(points["endpoint"])]
    for kind, name, symbol, size in (
        ("hull_point", "hull point", "circle", 6),
        ("endpoint", "endpoint", "diamond", 12),
        ("split", "W_k", "star", 14),
    ):
        of_kind = points[kind]
        if of_kind:
            marker = {**as_markers, "color": [_height(point.loss) for point in of_kind], "symbol": symbol, "size": size}
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [short(point.x) for point in of_kind],
                    "y": [short(point.y) for point in of_kind],
                    "text": [_hover_text(name, point, len(of_kind)) for point in of_kind],
                    "hoverinfo": "text",
                    "marker": {**marker, "line": {"color": "white", "width": 1}},
                    "meta": {"series": name, "trunk": None, "symbol": symbol, "shift": 0},
                }
            )
    return traces


def _hover_text(name: str, point: Point, number: int) -> str:
    """Returns what one reads at a point; of several, which it is."""
    number_text = (
        "" if number == 1 else f" {point.number}" if name == "endpoint" else f" {point.number + 1} of {number}"
    )
    return f"<b>{name}{number_text}</b><br>training loss {point.loss:.4g}"


def _values(rows: pd.DataFrame) -> dict[str, dict[int, float]]:
    """Returns the last value of each quantity by the number of its point: a branch, an index, or 0 for the only point."""
    numbers = rows["branch"].fillna(rows["index"]).fillna(0)
    values: dict[str, dict[int, float]] = {}
    for quantity, number, value in zip(rows["quantity"], numbers, rows["value"], strict=True):
        values.setdefault(quantity, {})[number] = value
    return values


def _points(values: Mapping[str, Mapping[int, float]], kind: str) -> list[Point]:
    """Returns the points of a kind that have all three numbers, in the order of their numbers."""
    xs, ys, losses = (values.get(f"plane_{kind}_{name}", {}) for name in ("x", "y", "loss"))
    return [
        Point(xs[number], ys[number], losses[number], int(number))
        for number in sorted(xs.keys() & ys.keys() & losses.keys())
    ]


def _height(loss: float) -> float:
    """Returns what the colour of a loss stands for: its logarithm, since losses off the hull are many times higher."""
    return short(log10(max(loss, 1e-30)))


def _contours(grid: Sequence[Point], colours: Trace) -> Trace:
    losses = {(round(point.x, 9), round(point.y, 9)): point.loss for point in grid}
    xs, ys = sorted({x for x, _ in losses}), sorted({y for _, y in losses})
    ticks = _ticks(colours["zmin"], colours["zmax"])
    return {
        "type": "contour",
        "x": [short(x) for x in xs],
        "y": [short(y) for y in ys],
        "z": [[_height(losses[x, y]) if (x, y) in losses else None for x in xs] for y in ys],
        "text": [[f"{losses[x, y]:.4g}" if (x, y) in losses else "" for x in xs] for y in ys],
        "hovertemplate": "<b>on the plane</b><br>training loss %{text}<extra></extra>",
        "contours": {"coloring": "heatmap", "showlabels": False},
        "line": {"width": 0.5, "color": "white"},
        "ncontours": 12,
        "colorbar": {
            "title": {"text": "loss"}, "thickness": 10, "tickvals": [log10(tick) for tick in ticks],
            "ticktext": [f"{tick:g}" for tick in ticks],
        },
        **colours,
    }  # fmt: skip


def _ticks(low: float, high: float) -> list[float]:
    """Returns losses to be read at a logarithmic scale: 1, 2 and 5 times powers of ten between the ends."""
    candidates = [digit * 10.0**power for power in range(floor(low), floor(high) + 1) for digit in (1, 2, 5)]
    inside = [each for each in candidates if low <= log10(each) <= high]
    return inside if len(inside) > 1 else [10**low, 10**high]


def _edge(endpoints: Sequence[Point]) -> Trace:
    """Returns the edge of the hull on the plane: of what the hull casts on it."""
    around = convex_polygon([(point.x, point.y) for point in endpoints])
    closed = [*around, around[0]]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [short(x) for x, _ in closed],
        "y": [short(y) for _, y in closed],
        "hoverinfo": "skip",
        "line": {"color": RED, "width": 2},
        "meta": {"series": "edge of the hull", "trunk": None, "symbol": "line-ew", "shift": 0},
    }


def convex_polygon(points: list[Place]) -> list[Place]:
    """Returns the corners of the convex hull of points of a plane, anticlockwise (the monotone chain of Andrew 1979)."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered
    halves = []
    for chain in (ordered, ordered[::-1]):
        half: list[Place] = []
        for point in chain:
            while len(half) > 1 and _turn(half[-2], half[-1], point) <= 0:
                half.pop()
            half.append(point)
        halves.append(half[:-1])
    return [*halves[0], *halves[1]]


def _turn(a: Place, b: Place, c: Place) -> float:
    """Returns a positive number where the way from `a` over `b` to `c` turns left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


FIGURE = ReportFigure(
    draw=draw,
    needs=("plane_share",),
    of_elsewhere=True,
    also=tuple(f"plane_{kind}_{name}" for kind in _KINDS for name in ("x", "y", "loss")),
    caption=(
        "The hull seen on a plane. The plane goes through the hull's centre along the first two principal directions of "
        "its endpoints. Contours are the training loss on the plane (logarithmic colours); the colour of a marker is the "
        "loss of the point itself, which lies off the plane and is drawn at the place closest to it. The line is the edge "
        "of what the hull casts on the plane. The smaller the plane's share of variance, the less it shows of the hull."
    ),
)
