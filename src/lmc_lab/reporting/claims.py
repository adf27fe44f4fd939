"""The claims of the paper, each with a rule by which rows decide whether it was seen, and the numbers behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite, sqrt

import pandas as pd

from lmc_lab.landscape.onset import OnsetBracket
from lmc_lab.reporting.onsets import unmeasured
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


@dataclass(frozen=True)
class Claim:
    """A claim of Yunis et al.; `judge` takes the rows of one task, of endpoints and trunks."""

    statement: str
    source: str  # "Figure 2, top", which the report's figure2 shows
    rule: str
    judge: Callable[[pd.DataFrame], Judgement]

    @property
    def figure(self) -> str:
        """Returns the name of the report's figure."""
        return self.source.partition(",")[0].lower().replace(" ", "")


def claims_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns a line for each claim and task: what was found, and the numbers."""
    lines = [
        {
            "task": task,
            "claim": f"{number}. {claim.statement}",
            "found": judgement.verdict,
            "numbers": judgement.numbers,
        }
        for task in dict.fromkeys(rows["task"])
        for of_task in [rows[rows["task"] == task]]
        for number, claim in enumerate(CLAIMS, start=1)
        for judgement in [claim.judge(of_task)]
    ]
    return pd.DataFrame(lines, columns=["task", "claim", "found", "numbers"])


def _judged(is_seen: bool, numbers: str) -> Judgement:
    return Judgement(Verdict.SEEN if is_seen else Verdict.NOT_SEEN, numbers)


_NOT_TESTED = Judgement(Verdict.NOT_TESTED)


def _hull_is_better(rows: pd.DataFrame) -> Judgement:
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


def _perturbations_are_worse(rows: pd.DataFrame) -> Judgement:
    p_rand = select(rows, "p_rand", "train")
    if p_rand.empty:
        return _NOT_TESTED
    worst = p_rand.sort_values("value").iloc[-1]
    numbers = f"p_rand at most {worst['value']:.2f} [{worst['low']:.2f}, {worst['high']:.2f}]"
    return _judged(bool(worst["value"] <= _RARE), numbers)


def _hull_is_large(rows: pd.DataFrame) -> Judgement:
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


def _hull_is_high_dimensional(rows: pd.DataFrame) -> Judgement:
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


def _curvature_tells_nothing(rows: pd.DataFrame) -> Judgement:
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


def _updates_look_convex(rows: pd.DataFrame) -> Judgement:
    shares = select(rows, "p_gap_negative")
    if shares.empty:
        return _NOT_TESTED
    worst = shares.sort_values("value").iloc[0]
    numbers = (
        f"P(g < 0) at least {worst['value']:.2f} [{worst['low']:.2f}, {worst['high']:.2f}], at {len(shares)} states"
    )
    return _judged(bool(worst["value"] >= 1 - _RARE), numbers)


def _hull_is_more_accurate(rows: pd.DataFrame) -> Judgement:
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


def _functions_differ(rows: pd.DataFrame) -> Judgement:
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


def _onset_is_early(rows: pd.DataFrame) -> Judgement:
    onsets, some_lack_it = select(rows, "onset_p_conv", "train").dropna(subset="high"), _without_hull(rows)
    curves = select(rows[rows["split_step"].isna()], "train_loss")
    texts, halved = [], []
    for trunk, low, high in onsets[["trunk", "low", "high"]].to_numpy(dtype=float):
        curve = curves[curves["trunk"] == trunk].sort_values("step")
        if curve.empty:
            continue
        first, last = curve["value"].iloc[0], curve["value"].iloc[-1]
        failed, held = _loss_just_before(low, curve), _loss_just_before(high, curve)
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


def _loss_just_before(step: float, curve: pd.DataFrame) -> float:
    """Returns the last value of a curve at or before a step, the first one where there is none."""
    before = curve.loc[curve["step"] <= step, "value"]
    return float(before.iloc[-1] if len(before) else curve["value"].iloc[0])


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


CLAIMS = (
    Claim(
        "After an early split random points of the hull are better than their nearest endpoint",
        "Figure 2, top",
        "p_conv is at least 0.9 from some split on, in every trunk",
        _hull_is_better,
    ),
    Claim(
        "Perturbations as long are almost always worse",
        "Figure 2, top",
        "p_rand is at most 0.1 at every split of every trunk",
        _perturbations_are_worse,
    ),
    Claim(
        "The hull is as large as the way to it",
        "Figure 2, bottom",
        "the distance between endpoints is within a factor of 3.2 of that from W_0, at each trunk's first convex hull",
        _hull_is_large,
    ),
    Claim(
        "The hull has all its P - 1 dimensions, also beyond the number of classes K",
        "Figure 3",
        "no centred singular value before the last is less than half of the one before it, for P - 1 > K",
        _hull_is_high_dimensional,
    ),
    Claim(
        "The Hessian's negative eigenvalues are small and do not announce the onset",
        "Figure 4, top",
        "lambda_min / lambda_max is between -0.25 and 0 from T/100 on, and its ranges at endpoints of convex and other hulls "
        "overlap where both were measured",
        _curvature_tells_nothing,
    ),
    Claim(
        "Between two possible updates the loss is convex throughout",
        "Figure 4, bottom",
        "P(g < 0) is at least 0.9 at every state",
        _updates_look_convex,
    ),
    Claim(
        "Points of the hull are more accurate than the endpoints",
        "Figure 5, top",
        "the mean training accuracy of hull points is above that of endpoints at every split from the onset on",
        _hull_is_more_accurate,
    ),
    Claim(
        "Endpoints of a hull share far fewer correct predictions than each has, and hulls share fewer still",
        "Figure 5, bottom",
        "from the onset on the share that all endpoints have right is at least 0.1 below their accuracy, and that of the "
        "hulls of all trunks below that of each; not tested with one trunk where the first holds",
        _functions_differ,
    ),
    Claim(
        "The onset is early: before the loss has halved",
        "Figure 6",
        "the trunk's training loss at the first split that holds is above half of its first, in every trunk; "
        "not tested where it is halved between the last split that fails and that, or where another trunk has no onset",
        _onset_is_early,
    ),
)
