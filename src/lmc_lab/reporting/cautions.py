"""What one should keep in mind of a study's numbers: few samples, eigenvalues that did not converge, slow evaluation."""

import json
from collections.abc import Iterator
from math import inf

import pandas as pd

from lmc_lab.reporting.alignment_ways import NONE, WAYS, by_way
from lmc_lab.reporting.bootstrap_coverage import coverage_text
from lmc_lab.reporting.onsets import threshold_of
from lmc_lab.results.select import select, select_any

_FEW_SAMPLES = 100  # J, at which an interval around p_conv = 0.9 is 0.12 wide
_FEW_ENDPOINTS = 5  # P


def cautions(rows: pd.DataFrame) -> list[str]:
    """Returns a sentence about each thing that makes numbers of a task less sure than they look."""
    sentences = []
    for task in dict.fromkeys(rows["task"].dropna()):
        task_rows = rows[rows["task"] == task]
        texts = (*_sampling(task_rows), *_curvature(task_rows), *_alignment(task_rows), *_evaluation(task_rows))
        sentences += [f"{task}: {text}" for text in texts]
    return sentences


def _sampling(rows: pd.DataFrame) -> Iterator[str]:
    p_conv = select(rows, "p_conv", "train")
    samples, endpoints = p_conv["num_samples"].dropna(), p_conv["num_endpoints"].dropna()
    if (few := samples[samples < _FEW_SAMPLES]).size:
        yield f"p_conv is, in part, of only J = {few.min()} points of a hull, so that its intervals are wide."
    if (few := endpoints[endpoints < _FEW_ENDPOINTS]).size:
        yield f"hulls have, in part, only P = {few.min()} endpoints; one hull may differ much from the next."
    yield from _undecided(p_conv, threshold_of(rows))
    pairs = select_any(rows, ["barrier_loss", "instability_loss", "barrier_error", "instability_error"]).dropna(
        subset="low"
    )
    if not pairs.empty:
        known = sorted({int(number) for number in pairs["num_samples"].dropna()})  # those whose pairs were looked at
        of_endpoints = " to ".join(dict.fromkeys(f"{number}" for number in (*known[:1], *known[-1:])))
        yield (
            f"intervals of barriers and instabilities are a bootstrap over {of_endpoints} endpoints, which covers about "
            f"{coverage_text(known)} where it says 95."
        )


def _undecided(p_conv: pd.DataFrame, threshold: float) -> Iterator[str]:
    """Says at which splits the interval of `p_conv` has the threshold inside, so that another draw may decide otherwise."""
    inside = p_conv[(p_conv["low"] < threshold) & (p_conv["high"] > threshold) & p_conv["split_step"].notna()]
    splits = [f"k = {split}, trunk {trunk}" for split, trunk in zip(inside["split_step"], inside["trunk"], strict=True)]
    if splits:
        yield f"at {'; '.join(dict.fromkeys(splits))} p_conv may be below {threshold:g} or above: both are in its interval."


def _curvature(rows: pd.DataFrame) -> Iterator[str]:
    converged = select(rows, "is_converged")["value"]
    if num_failed := int((converged == 0).sum()):
        yield f"{num_failed} of {len(converged)} runs for eigenvalues had not converged; rings in Figure 4."


def _alignment(rows: pd.DataFrame) -> Iterator[str]:
    """Says where a way to align neurons ended with larger barriers between trunks than none."""
    barriers = {
        way: way_rows.groupby("split_step")["value"].last() for way, way_rows in by_way(rows, "barrier_loss").items()
    }
    before = barriers.pop(WAYS[NONE])
    for way, after in barriers.items():
        by_split = zip(after.index.tolist(), after.tolist(), strict=True)
        if worse := [f"{int(split)}" for split, barrier in by_split if barrier > before.get(split, inf)]:
            where = f"at k = {', '.join(worse)}"
            yield f"neurons aligned by {way.label} ended worse than not aligned {where}: barriers between trunks are larger."


def _evaluation(rows: pd.DataFrame) -> Iterator[str]:
    slow: dict[str, set[str]] = {}
    drawn: dict[str, set[str]] = {}
    for analysis, text in rows[["analysis", "settings"]].dropna().drop_duplicates().itertuples(index=False):
        settings = json.loads(text)
        chosen = settings.get("chosen", {})
        way = chosen.get("evaluation", "")
        if way.startswith("loop"):
            slow.setdefault(way.removeprefix("loop").lstrip(": "), set()).add(analysis)
        if "examples" in chosen and settings.get("evaluation", {}).get("num_examples") is not None:
            drawn.setdefault(chosen["examples"], set()).add(analysis)
    for examples, names in drawn.items():
        yield f"losses of {', '.join(sorted(names))} are means over {examples} examples, drawn at random once."
    for why, names in slow.items():
        reason = f" ({why})" if why else ""
        yield f"points of {', '.join(sorted(names))} were evaluated one by one{reason}, which is slow."
