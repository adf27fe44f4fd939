"""What rows say of each claim of the paper: seen or not, and the numbers behind it."""

from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite, sqrt

import pandas as pd

from lmc_lab.landscape.onset import OnsetBracket
from lmc_lab.reporting.onsets import loss_just_before, trunk_curves, unmeasured
from lmc_lab.results.select import select

_SAME_ORDER = sqrt(10)  # two lengths of the same order of magnitude: their ratio is between 1/3.2 and 3.2
_RARE = 0.1  # a probability that is called small
_SMALL_RATIO = 0.25  # of eigenvalues, in size
_EARLY_STATES = 100  # T/100: eigenvalues of states before are said, and do not decide
_CUT = 0.5  # of two neighbouring singular values: a smaller one is a cut


class Verdict(StrEnum):
    """What rows say of a claim."""

    SEEN = "seen"
    NOT_SEEN = "not seen"
    NOT_TESTED = "not tested"
    DOES_NOT_APPLY = "does not apply"


@dataclass(frozen=True)
class Judgement:
    """What was found of a claim: the verdict, and the numbers that it follows from."""

    verdict: Verdict
    numbers: str = ""


def _judged(is_seen: bool, numbers: str) -> Judgement:
    return Judgement(Verdict.SEEN if is_seen else Verdict.NOT_SEEN, numbers)


_NOT_TESTED = Judgement(Verdict.NOT_TESTED)


def hull_is_better(rows: pd.DataFrame) -> Judgement:
    """Judges claim 1 by the brackets of the onsets."""
    onsets = select(rows, "onset_p_conv", "train")
    if onsets.empty:
        return _NOT_TESTED
    texts = [
        f"trunk {trunk}: {OnsetBracket(_step(failed), _step(held))}"
        for trunk, failed, held in zip(onsets["trunk"], onsets["low"], onsets["high"], strict=True)
    ]
    last = zip(onsets["trunk"], onsets["low"], strict=True)
    if any(failed in unmeasured(rows[rows["trunk"] == trunk]) for trunk, failed in last):
        return Judgement(Verdict.NOT_TESTED, f"{'; '.join(texts)}; p_conv is missing where it is said to fail")
    return _judged(bool(onsets["high"].notna().all()), "; ".join(texts))


def perturbations_are_worse(rows: pd.DataFrame) -> Judgement:
    """Judges claim 2 by the largest `p_rand`."""
    p_rand = select(rows, "p_rand", "train")
    if p_rand.empty:
        return _NOT_TESTED
    worst = p_rand.sort_values("value").iloc[-1]
    numbers = f"p_rand at most {worst['value']:.2f} [{worst['low']:.2f}, {worst['high']:.2f}]"
    return _judged(bool(worst["value"] <= _RARE), numbers)


def hull_is_large(rows: pd.DataFrame) -> Judgement:
    """Judges claim 3 by the distance between endpoints over theirs from W_0, at the first split that holds of each trunk."""
    sizes = _estimates_at_splits(rows, "endpoint_endpoint", None)
    lengths = _estimates_at_splits(rows, "endpoint_start", None)
    ratios = _from_onset_on(rows, (sizes["value"] / lengths["value"]).dropna())
    if ratios.empty:
        return _NOT_TESTED
    first = ratios.groupby("trunk").head(1)  # of the earliest convex hull, which is the largest
    # Wider than they need be: as if the ends of both intervals were reached at once.
    bounds = {"low": sizes["low"] / lengths["high"], "high": sizes["high"] / lengths["low"]}
    texts = _estimates(pd.DataFrame({"value": ratios, **bounds}).loc[first.index])
    numbers = f"two endpoints are {', '.join(texts)} times as far apart as they are from W_0, at the first convex hull"
    numbers += _without_hull(rows)
    return _judged(bool(first.between(1 / _SAME_ORDER, _SAME_ORDER).all()), numbers)


def hull_is_high_dimensional(rows: pd.DataFrame) -> Judgement:
    """Judges claim 4 by the steps from one centred singular value to the next."""
    values = select(rows, "singular_value_centred")
    outputs = select(rows, "num_outputs")["value"]
    if values.empty or outputs.empty:
        return _NOT_TESTED
    num_outputs = int(outputs.iloc[0])
    spectra = [
        mode_values.sort_values("index")["value"].to_numpy()[:-1]  # the last of P is zero but for rounding
        for _, mode_values in values.groupby(["trunk", "split_step"])
    ]
    last = min(spectrum[-1] / spectrum[0] for spectrum in spectra)
    num_endpoints = min(len(spectrum) + 1 for spectrum in spectra)
    numbers = f"centred singular value P - 1 at least {last:.2f} of the largest, P = {num_endpoints}"
    if num_endpoints - 1 <= num_outputs:
        return Judgement(Verdict.NOT_TESTED, f"{numbers}, which is not beyond K = {num_outputs}")
    at_classes = min(spectrum[num_outputs] / spectrum[num_outputs - 1] for spectrum in spectra)
    numbers += f"; value K + 1 at least {at_classes:.2f} of value K = {num_outputs}"
    return _judged(min(at_classes, *(min(ratios[1:] / ratios[:-1]) for ratios in spectra)) > _CUT, numbers)


def curvature_tells_nothing(rows: pd.DataFrame) -> Judgement:
    """Judges claim 5 by lambda_min / lambda_max along trunks, and at endpoints of convex and other hulls."""
    ratios = select(rows, "hessian_ratio")
    along = ratios[ratios["split_step"].isna()].dropna(subset="step")
    if along.empty:
        return _NOT_TESTED
    is_early = along["step"] < along["step"].max() / _EARLY_STATES
    late, early = along.loc[~is_early, "value"], along.loc[is_early, "value"]
    numbers = f"{_span(late)} along the trunks" + (f", {_span(early)} before T/{_EARLY_STATES}" if len(early) else "")
    is_small = bool(late.between(-_SMALL_RATIO, 0, inclusive="neither").all())
    # A branch's states on the way are no endpoint's: its last is.
    of_branches = ratios.dropna(subset="split_step").sort_values("step", kind="stable")
    at_ends = of_branches.groupby(["trunk", "split_step", "branch"], dropna=False).tail(1)
    ends = at_ends.set_index(["trunk", "split_step"])["value"].sort_index()
    convex = _from_onset_on(rows, ends)
    others = ends[~ends.index.isin(convex.index)]
    if convex.empty or others.empty:
        return _judged(is_small, numbers)
    overlap = convex.min() <= others.max() and others.min() <= convex.max()
    numbers += f"; at endpoints {_span(convex)} of convex hulls, {_span(others)} of others"
    return _judged(is_small and bool(overlap), numbers)


def updates_look_convex(rows: pd.DataFrame) -> Judgement:
    """Judges claim 6 by the smallest P(g < 0)."""
    shares = select(rows, "p_gap_negative")
    if shares.empty:
        return _NOT_TESTED
    worst = shares.sort_values("value").iloc[0]
    numbers = (
        f"P(g < 0) at least {worst['value']:.2f} [{worst['low']:.2f}, {worst['high']:.2f}], at {len(shares)} states"
    )
    return _judged(bool(worst["value"] >= 1 - _RARE), numbers)


def hull_is_more_accurate(rows: pd.DataFrame) -> Judgement:
    """Judges claim 7 by the accuracy of hull points less that of endpoints, from the onset on."""
    if select(rows, "endpoint_accuracy").empty:
        return _without_accuracy(rows)
    points = _estimates_at_splits(rows, "hull_point_accuracy", "train")
    endpoints = _estimates_at_splits(rows, "endpoint_accuracy", "train")
    gain = _from_onset_on(rows, (points["value"] - endpoints["value"]).dropna())
    if gain.empty:
        return Judgement(Verdict.NOT_TESTED, "no hull is convex")
    numbers = f"{_span(gain, signed=True)} on the training set, from the onset on"
    least = [gain.idxmin()]
    at_least = (text for values in (points, endpoints) for text in _estimates(values.loc[least], digits=3))
    numbers += f"; where it is least, {' against '.join(at_least)}{_without_hull(rows)}"
    return _judged(bool((gain > 0).all()), numbers)


def functions_differ(rows: pd.DataFrame) -> Judgement:
    """Judges claim 8 by the shares that all endpoints of a hull, and of all hulls, have right."""
    if select(rows, "endpoint_accuracy").empty:
        return _without_accuracy(rows)
    within = _from_onset_on(rows, _at_splits(rows, "intra_mode", "train"))
    accuracy = _at_splits(rows, "endpoint_accuracy", "train").reindex(within.index)
    if within.empty:
        return _NOT_TESTED
    numbers = f"all endpoints of a hull have {_span(within)} right, each {_span(accuracy)}"
    is_below = bool((within <= accuracy - _RARE).all())
    between = select(rows, "inter_mode", "train").set_index("split_step")["value"]
    between = between[between.index.isin(within.index.get_level_values("split_step"))]
    if between.empty:
        numbers += f"{_without_hull(rows)}; hulls of several trunks were not compared"
        return Judgement(Verdict.NOT_TESTED if is_below else Verdict.NOT_SEEN, numbers)
    equal = select(rows, "equal_count_control", "train").set_index("split_step")["value"].reindex(between.index)
    numbers += f"; of all hulls {_span(between)}, as many endpoints from all hulls {_span(equal)}{_without_hull(rows)}"
    lowest = within.groupby("split_step").min().reindex(between.index)
    return _judged(is_below and bool((between < lowest).all()), numbers)


def onset_is_early(rows: pd.DataFrame) -> Judgement:
    """Judges claim 9 by the trunk's loss at both ends of the onset's bracket."""
    onsets, some_lack_it = select(rows, "onset_p_conv", "train").dropna(subset="high"), _without_hull(rows)
    curves = trunk_curves(rows)
    texts, halved = [], []
    for trunk, low, high in onsets[["trunk", "low", "high"]].to_numpy(dtype=float):
        curve = curves[curves["trunk"] == trunk]
        if curve.empty:
            continue
        first, last = loss_just_before(0, curve), curve["value"].iloc[-1]
        failed, held = loss_just_before(low, curve), loss_just_before(high, curve)
        halved.append((failed <= first / 2, held <= first / 2))
        share = high / curve["step"].max()
        texts.append(
            f"trunk {trunk:.0f}: {share:.1%} of T, loss {held:.3g} between {first:.3g} and {last:.3g}"
            + (f"; {failed:.3g} at k = {low:.0f}, which fails" if failed > first / 2 >= held else "")
        )
    numbers = "; ".join(texts) + some_lack_it if texts else ""
    if any(failed for failed, _ in halved):
        return _judged(False, numbers)
    is_between = any(held for _, held in halved)  # a half within the bracket: the onset may be before or after it
    if not texts or some_lack_it or is_between:
        return Judgement(Verdict.NOT_TESTED, numbers)
    return _judged(True, numbers)


def _without_accuracy(rows: pd.DataFrame) -> Judgement:
    return Judgement(Verdict.DOES_NOT_APPLY) if not select(rows, "endpoint_loss").empty else _NOT_TESTED


def _at_splits(rows: pd.DataFrame, quantity: str, subset: str | None) -> "pd.Series[float]":
    """Returns the last value of a quantity by trunk and split."""
    return _estimates_at_splits(rows, quantity, subset)["value"]


def _estimates_at_splits(rows: pd.DataFrame, quantity: str, subset: str | None) -> pd.DataFrame:
    """Returns the last value of a quantity with the ends of its interval by trunk and split."""
    of_splits = select(rows, quantity, subset).dropna(subset="split_step")
    return of_splits.groupby(["trunk", "split_step"])[["value", "low", "high"]].last().astype(float)


def _from_onset_on(rows: pd.DataFrame, values: "pd.Series[float]") -> "pd.Series[float]":
    """Returns what belongs to splits from the onset of their trunk on; nothing where it is not known."""
    onsets = select(rows, "onset_p_conv", "train").set_index("trunk")["high"].fillna(inf)
    index = values.index
    first = index.get_level_values("trunk").map(onsets.to_dict()).astype(float)
    return values[index.get_level_values("split_step").astype(float) >= first]


def _without_hull(rows: pd.DataFrame) -> str:
    """Returns which trunks were measured and have no onset, as the end of a sentence."""
    onsets = select(rows, "onset_p_conv", "train")
    return "".join(f"; trunk {trunk} has no onset" for trunk in onsets.loc[onsets["high"].isna(), "trunk"])


def _span(values: "pd.Series[float]", *, signed: bool = False) -> str:
    """Returns the smallest and the largest value."""
    low, high = (f"{value:+.3f}" if signed else f"{value:.2f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _estimates(table: pd.DataFrame, *, digits: int = 2) -> list[str]:
    """Returns each value of a table with its interval, if it has one."""
    lines = table[["value", "low", "high"]].itertuples(index=False)
    return [
        f"{value:.{digits}f}" + (f" [{low:.{digits}f}, {high:.{digits}f}]" if isfinite(low) and isfinite(high) else "")
        for value, low, high in lines
    ]


def _step(value: float) -> int | None:
    return int(value) if isfinite(value) else None
