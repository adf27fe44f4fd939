"""Figure 3: of how many dimensions the hull is."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lmc_lab.reporting.palette import GREY, split_colours
from lmc_lab.reporting.panel import Panel, Series, Trace, by_trunk, log_axis, tasks_in, whole_numbers
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.reporting.singular_values import over_largest
from lmc_lab.results.select import select, steps_in


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns the singular values of the stacked endpoints of every split, raw and centred, over the largest."""
    colours = split_colours(steps_in(select(rows, "singular_value_raw")))
    return [
        _panel(f"{task}singular values, {kind}", task_rows, kind, colours)
        for task, task_rows in tasks_in(rows)
        for kind in ("raw", "centred")
    ]


def _panel(title: str, rows: pd.DataFrame, kind: str, colours: dict[int, str]) -> Panel:
    traces = _traces(rows, kind, colours)
    last = max((x for trace in traces for x in trace["x"] if x is not None), default=1)
    outputs = sorted(set(select(rows, "num_outputs")["value"].tolist()))
    return Panel(
        title=f"{title}{_remark(rows, kind, outputs)}",
        traces=traces,
        x="component",
        y="singular value / largest",
        lines=[number for number in outputs if number <= last],
        layout={"xaxis": whole_numbers(last), "yaxis": log_axis(traces)},
    )


def _traces(rows: pd.DataFrame, kind: str, colours: dict[int, str]) -> list[Trace]:
    return [
        trace
        for split, shown in over_largest(rows, kind).groupby("split_step", dropna=False)
        for trace in by_trunk(shown, _series(split, colours), x="index", group="split_step")
    ]


def _series(split: Any, colours: dict[int, str]) -> Series:
    return Series("weights from elsewhere", GREY) if pd.isna(split) else Series(f"k = {split}", colours[split])


def _remark(rows: pd.DataFrame, kind: str, outputs: Sequence[float]) -> str:
    ranks = select(rows, f"effective_rank_{kind}")["value"]
    between = " to ".join(dict.fromkeys(f"{rank:.2f}" for rank in (ranks.min(), ranks.max()))) if len(ranks) else ""
    parts = [f"effective rank {between}"] if between else []
    parts += [f"K = {number:.0f}" for number in outputs]
    return f" ({', '.join(parts)})" if parts else ""


FIGURE = ReportFigure(
    draw=draw,
    needs=("singular_value_raw",),
    of_elsewhere=True,
    also=(
        "singular_value_centred",
        "singular_value_floor_raw",
        "singular_value_floor_centred",
        "effective_rank_raw",
        "effective_rank_centred",
        "num_outputs",
    ),
    caption=(
        "Figure 3: of how many dimensions the hull is. Singular values of the stacked endpoints over the largest; as in the "
        "paper (raw), and of endpoints less their mean (centred): P points span at most P - 1 dimensions. Dotted "
        "line: the number K of outputs (classes), where there are so many components. Values that are zero but for rounding "
        "are left out."
    ),
)
