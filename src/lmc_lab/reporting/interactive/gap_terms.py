"""Why a hull point is better: the terms of the Jensen gap against the split, and of each point against its distance."""

import pandas as pd

from lmc_lab.reporting.hull_terms import TERMS, Term, of_sum
from lmc_lab.reporting.panel import Panel, Series, Trace, by_trunk, short, symbol_of, tasks_in
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in

OF_POINTS = ("bend", "averaging")


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns the mean terms of each mode, and those of each hull point, of one split at a time."""
    panels = []
    for task, task_rows in tasks_in(rows):
        panels.append(
            Panel(
                title=f"{task}loss of a hull point, less that of its nearest endpoint",
                traces=[
                    trace
                    for name, term in TERMS.items()
                    for trace in by_trunk(of_sum(task_rows, name), series_of(term))
                ],
                x="split step k",
                y="mean over hull points",
                steps=steps_in(task_rows),
            )
        )
        for split, of_split in select(task_rows, "point_distance").groupby("split_step"):
            panels.append(
                Panel(
                    title=f"{task}each hull point, k = {split}",
                    traces=_points(
                        task_rows[task_rows["split_step"] == split], sorted(of_split["trunk"].dropna().unique())
                    ),
                    x="distance from the nearest endpoint",
                    y="term of its Jensen gap",
                    choice=f"k = {split}",
                )
            )
    return panels


def series_of(term: Term) -> Series:
    """Returns how a term is drawn on the page."""
    return Series(term.label, term.colour, "dot" if term.is_dashed else "solid")


def _points(rows: pd.DataFrame, trunks: list[int]) -> list[Trace]:
    traces = []
    for trunk in trunks:
        symbol = symbol_of(trunk)
        trunk_rows = rows[rows["trunk"] == trunk]
        distances = select(trunk_rows, "point_distance").set_index("index")["value"]
        for name in OF_POINTS:
            values = of_sum(trunk_rows, name, "point").set_index("index")["value"]
            finite = pd.concat({"x": distances, "y": values}, axis=1).dropna()
            series = series_of(TERMS[name])
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [short(x) for x in finite["x"]],
                    "y": [short(y) for y in finite["y"]],
                    "hovertemplate": f"<b>{series.label}</b><br>distance %{{x}}<br>%{{y}}<extra></extra>",
                    "marker": {"color": series.colour, "symbol": symbol, "size": 5, "opacity": 0.7},
                    "meta": {"series": series.label, "trunk": f"trunk {trunk}", "symbol": symbol, "shift": 0},
                }
            )
    return traces


FIGURE = ReportFigure(
    draw=draw,
    needs=("gap_bend",),
    also=(
        *(f"gap_{name}" for name in TERMS if name != "bend"),
        *(f"point_{name}" for name in (*OF_POINTS, "distance")),
    ),
    caption=(
        "Why a hull point is better. Its loss less that of its nearest endpoint is the sum of three terms: the bend of the "
        "network (its outputs against the mean of the endpoints' outputs; 0 for one that is linear in its parameters), less "
        "what averaging outputs gains (as an ensemble does), and how much better the nearest endpoint is than all on average. "
        "Training set; intervals: 95 % over hull points (t). The second panel has two of them for each hull point."
    ),
)
