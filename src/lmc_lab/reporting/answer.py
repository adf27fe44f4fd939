"""The answer in words: from which split on are the hulls of a task convex, and how sure is that?"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import pandas as pd

from lmc_lab.reporting.onsets import threshold_of, unmeasured
from lmc_lab.results.select import select, steps_in


def answers(rows: pd.DataFrame, last_steps: Mapping[str, int]) -> dict[str, str]:
    """Returns a sentence or two for each task.

    Args:
        rows: of all tasks.
        last_steps: T of each.
    """
    return {
        task: _answer(rows[rows["task"] == task], last_steps.get(task)) for task in dict.fromkeys(rows["task"].dropna())
    }


def _answer(rows: pd.DataFrame, last_step: int | None) -> str:
    onsets = select(rows, "onset_p_conv", "train")
    if onsets.empty:
        return _without_onset(rows)
    of_steps = "" if last_step is None else f" of {last_step:,}"
    threshold = threshold_of(rows)
    last = [trunk_onsets.iloc[-1] for _, trunk_onsets in onsets.groupby("trunk")]
    clauses = {f"trunk {onset['trunk']}": _onset(onset, rows, of_steps, threshold) for onset in last}
    if len(set(clauses.values())) == 1:
        in_trunks = {1: next(iter(clauses)), 2: "both trunks"}.get(len(clauses), f"all {len(clauses)} trunks")
        sentence = f"{next(iter(clauses.values()))}, in {in_trunks}"
    else:
        sentence = "; ".join(f"in {trunk}, {clause}" for trunk, clause in clauses.items())
    measured = [clause for clause in (_there(onset, rows) for onset in last) if clause]
    there = f" There p_conv is {' and '.join(measured)}{_rest_on(rows[rows['trunk'].notna()])}." if measured else ""
    return f"{sentence[0].upper()}{sentence[1:]}.{there}"


def _onset(onset: "pd.Series[Any]", rows: pd.DataFrame, of_steps: str, threshold: float) -> str:
    """Returns from where on the hulls of a trunk are convex."""
    failed, held = onset["low"], onset["high"]
    convex = f"convex (p_conv at least {threshold:g})"
    missing = unmeasured(rows[rows["trunk"] == onset["trunk"]])
    if failed in missing:
        at = ", ".join(f"{step:,}" for step in missing)
        held_at = _held_at(onset, rows, threshold)
        return f"from where on hulls are {convex} is not known, since p_conv is missing at k = {at}{held_at}"
    reversals = select(rows[rows["trunk"] == onset["trunk"]], "onset_p_conv_reversals")["value"]
    doubt = " (not monotone: an earlier split held, a later one failed)" if reversals.gt(0).any() else ""
    single = _held_at(onset, rows, threshold) if doubt or pd.isna(held) else ""
    if pd.isna(held):
        return f"hulls are not {convex} at the last split that was looked at, k = {failed:,.0f}{of_steps} steps{doubt}{single}"
    if pd.isna(failed):
        return f"hulls are {convex} from the first split on that was looked at, k = {held:,.0f}{of_steps} steps"
    return f"hulls are {convex} from some split between steps {failed:,.0f} and {held:,.0f}{of_steps} on{doubt}{single}"


def _held_at(onset: "pd.Series[Any]", rows: pd.DataFrame, threshold: float) -> str:
    """Returns at which splits of a trunk the hull is convex, one by one."""
    p_conv = select(rows[rows["trunk"] == onset["trunk"]], "p_conv", "train")
    held = steps_in(p_conv[p_conv["value"] >= threshold])
    return f"; convex are the hulls of k = {', '.join(f'{step:,}' for step in held)}" if held else "; no hull is convex"


def _there(onset: "pd.Series[Any]", rows: pd.DataFrame) -> str:
    """Returns `p_conv` of a trunk at the first split that holds, or at the last that fails."""
    step = onset["low"] if pd.isna(onset["high"]) else onset["high"]
    of_trunk = select(rows[rows["trunk"] == onset["trunk"]], "p_conv", "train")
    at_step = of_trunk[of_trunk["split_step"] == step]
    if at_step.empty or not isfinite(at_step.iloc[-1]["value"]):
        return ""
    return f"{_with_interval(at_step.iloc[-1])} in trunk {onset['trunk']} (k = {step:,.0f})"


def _without_onset(rows: pd.DataFrame) -> str:
    p_conv = select(rows, "p_conv", "train")
    p_conv = p_conv[p_conv["value"].map(isfinite)]
    if p_conv.empty:
        return "Whether hulls are convex was not measured; the analyses convex_mode and onset say it."
    last = p_conv.sort_values("split_step", na_position="first").iloc[-1]
    where = "these weights" if pd.isna(last["split_step"]) else f"trunk {last['trunk']}, k = {last['split_step']}"
    why = "" if pd.isna(last["split_step"]) else " From where on hulls are convex was not asked (analysis onset)."
    return f"Of {where}, p_conv is {_with_interval(last)}{_rest_on(p_conv)}.{why}"


def _with_interval(row: "pd.Series[Any]") -> str:
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['value']:.2f}{interval}"


def _rest_on(rows: pd.DataFrame) -> str:
    """Returns what the intervals of `p_conv` rest on."""
    p_conv = select(rows, "p_conv", "train")
    samples, endpoints = p_conv["num_samples"].dropna(), p_conv["num_endpoints"].dropna()
    if samples.empty or endpoints.empty:
        return ""
    return (
        f": 95 % intervals over the J = {_span(samples)} points that were drawn of one hull of P = {_span(endpoints)} "
        "endpoints, not over other hulls"
    )


def _span(values: "pd.Series[int]") -> str:
    return " to ".join(dict.fromkeys((f"{values.min()}", f"{values.max()}")))
