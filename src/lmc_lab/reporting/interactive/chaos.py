"""Does chaos end at the onset? How fast differences of weights grow, and how large a perturbation leads to a barrier."""

import pandas as pd

from lmc_lab.reporting.onsets import BESIDE, onsets
from lmc_lab.reporting.palette import BLUE, ORANGE, RED, split_colours
from lmc_lab.reporting.panel import APART, SHARE_AXIS, Panel, Series, by_trunk, log_axis, offsets, tasks_in
from lmc_lab.reporting.perturbations import KINDS, SHARES, SIGMA_50, SIZE, half_points, shares_by_size
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.select import select, steps_in

_BESIDE = 1.025  # times a size is where the mark beside it stands, so that neither hides the other
_COLOURS = {"gaussian": BLUE, "gradient": RED}
_RATES = {
    "lyapunov_exponent": Series("Lyapunov exponent", BLUE),
    "difference_growth": Series("random differences of weights", ORANGE),
}


def draw(rows: pd.DataFrame) -> list[Panel]:
    """Returns the rates at which differences grow along the trunks, and what perturbations of W_k lead to."""
    panels = []
    for task, task_rows in tasks_in(rows):
        panels += [
            _rates(f"{task}growth of small differences", task_rows),
            _sigma_50(f"{task}size at which half of the pairs have a barrier", task_rows),
            *(
                _by_size(f"{task}share of pairs with a barrier, {words}", task_rows, kind)
                for kind, words in KINDS.items()
            ),
        ]
    return panels


def _rates(title: str, rows: pd.DataFrame) -> Panel:
    rates = {name: select(rows, name) for name in _RATES}
    return Panel(
        title=title,
        traces=[trace for name, series in _RATES.items() for trace in by_trunk(rates[name], series, x="step")],
        x="step at which the window begins",
        y="log growth a step",
        steps=steps_in(pd.concat(rates.values()), "step"),
        spans=onsets(rows),
        lines=steps_in(rows),
    )


def _sigma_50(title: str, rows: pd.DataFrame) -> Panel:
    traces = [
        trace
        for kind, words in KINDS.items()
        for trace in by_trunk(half_points(rows, kind), Series(f"perturbations: {words}", _COLOURS[kind]))
    ]
    return Panel(
        title=title,
        traces=traces,
        x="split step k",
        y="sigma_50",
        steps=steps_in(rows),
        spans=onsets(rows),
        layout={"yaxis": log_axis(traces)},
    )


def _by_size(title: str, rows: pd.DataFrame, kind: str) -> Panel:
    shares = shares_by_size(rows, kind)
    colours = split_colours(steps_in(shares))
    traces = [
        trace | {"x": (trunk_rows["size"] * _BESIDE ** (2 * offset + trace["meta"]["shift"] / APART)).tolist()}
        for offset, (split, colour) in zip(offsets(len(colours)), colours.items(), strict=True)
        for of_split in [shares[shares["split_step"].isin([split])]]
        for trace, (_, trunk_rows) in zip(
            by_trunk(of_split, Series(f"k = {split}", colour), x="index", within=(0, 1)),
            of_split.sort_values("index").groupby("trunk"),
            strict=True,
        )
    ]
    return Panel(
        title=title,
        traces=traces,
        x="size sigma of the perturbation",
        y="share of pairs",
        layout={"xaxis": log_axis(traces, "x"), "yaxis": SHARE_AXIS},
    )


FIGURE = ReportFigure(
    draw=draw,
    needs=("lyapunov_exponent", *SHARES),
    also=(*(name for name in _RATES if name != "lyapunov_exponent"), *SIGMA_50, SIZE, *BESIDE),
    caption=(
        "Chaos. The mean log of the factor by which small differences grow in a step of training, in windows that begin at "
        "these steps of the trunk: of weights and momentum over the second half of the window, after they have turned towards "
        "what grows fastest (the finite-time Lyapunov exponent; above 0 training is chaotic there), and of random differences "
        "of weights over all of it. Dotted lines are splits, shaded is the bracket of the onset of p_conv. Intervals: 95 % "
        "over random directions (t). Perturbations: branches from W_k and from W_k + sigma e in the same data order (Altintas "
        "et al. 2025), e as long as the initial weights deviate; the size at which half of the pairs have an instability in "
        "training error above 2 %, by a logistic fit with its profile likelihood interval, or between two sizes where these "
        "separate perfectly, from 0 on where every size has barriers, and no mark where none has; and the share of pairs that "
        "have one (Wilson)."
    ),
)
