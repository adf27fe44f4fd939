"""Tables of the questions that the paper leaves open."""

from typing import Any

import pandas as pd

from lmc_lab.reporting.alignment_ways import by_way
from lmc_lab.reporting.chosen_parts import PARTS, by_part
from lmc_lab.reporting.noise_kinds import KINDS as NOISES
from lmc_lab.reporting.noise_kinds import by_kind, by_mixture
from lmc_lab.reporting.perturbations import KINDS
from lmc_lab.results.select import select

_TERMS = {
    "bend": "gap_bend",
    "gain of averaging": "gap_averaging",
    "advantage of the nearest endpoint": "gap_corner",
    "above the nearest endpoint": "gap_excess",
    "share of points with a bend below 0": "p_bend_negative",
    "loss of the ensemble of outputs": "ensemble_loss",
    "of probabilities": "probabilities_loss",
}


def gap_terms_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the terms of the Jensen gap of each mode on the training set, with their intervals."""
    lines = []
    for (task, trunk, split), own in rows.groupby(["task", "trunk", "split_step"]):
        terms = select(own, "gap_bend", "train")
        if terms.empty:
            continue
        line = {"task": task, "trunk": trunk, "k": split, **_counts(terms)}
        lines.append(line | {heading: _cell(select(own, quantity, "train")) for heading, quantity in _TERMS.items()})
    return pd.DataFrame(lines)


_MEASURES = {"NC1": "nc1", "NC2, norms": "nc2_equinorm", "NC2, angles": "nc2_maximal_angle", "NC3": "nc3"}


def collapse_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the measures of collapse at each split and of its endpoints, and how much class means bend over its hull."""
    lines = []
    for (task, trunk, split), own in rows.groupby(["task", "trunk", "split_step"]):
        bend = select(own, "class_mean_bend", "train")
        if bend.empty:
            continue
        of_trunk = rows[rows["task"].isin([task]) & rows["trunk"].isin([trunk]) & rows["split_step"].isna()]
        at_split = of_trunk[of_trunk["step"].isin([split])]
        line = {"task": task, "trunk": trunk, "k": split, **_counts(bend)}
        for heading, quantity in _MEASURES.items():
            line[f"{heading} at W_k"] = _cell(select(at_split, quantity, "train"))
            line[f"{heading} of endpoints"] = _range(select(own, quantity, "train"))
        line["bend of class means"] = _cell(bend)
        lines.append(line)
    return pd.DataFrame(lines)


def class_geometry_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns by how much cosines between classes differ in one hull, and in hulls of different trunks, at each split."""
    lines = []
    for (task, split), own in rows.groupby(["task", "split_step"]):
        inter = select(own, "class_cosine_difference_inter", "train")
        if not inter.empty:
            line = {"task": task, "k": split, "endpoints": inter["num_samples"].iloc[-1]}
            cells = {
                "in one hull": _cell(select(own, "class_cosine_difference_intra", "train")),
                "between hulls": _cell(inter),
            }
            lines.append(line | cells)
    return pd.DataFrame(lines)


_OF_UNION = {
    "barrier between trunks": "barrier_loss",
    "p_conv of all": "p_conv",
    "p_rand of all": "p_rand",
    "loss at the centre of all": "centre_loss",
    "share of S* that it has right": "centre_right",
}


def alignment_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns what is measured of all trunks' endpoints at each split, for each way to align their neurons."""
    lines = []
    for (task, split), own in rows.groupby(["task", "split_step"]):
        cells = {heading: by_way(own, quantity) for heading, quantity in _OF_UNION.items()}
        for way, lengths in by_way(own, "distance", None).items():
            if not lengths.empty:
                line = {"task": task, "k": split, "aligned by": way.label, "distance": _cell(lengths)}
                lines.append(
                    line | {heading: _cell(found[way]) if way in found else "" for heading, found in cells.items()}
                )
    return pd.DataFrame(lines)


_OF_NOISE = {
    "p_conv": ("p_conv", "train"),
    "p_rand": ("p_rand", "train"),
    "share of points with a Jensen gap below 0": ("p_jensen_negative", "train"),
    "hull radius": ("hull_radius", None),
    "loss of endpoints": ("endpoint_loss", "train"),
    "loss at the centre": ("centre_loss", "train"),
}
_WITH_ORDER = {
    "p_conv with the order": ("p_conv", "train"),
    "Jensen gap below 0 with the order": ("p_jensen_negative", "train"),
    "distance to the order": ("endpoint_endpoint", None),
}


def noise_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns for each split and kind of noise what is measured of its hull, and of its mixture with the order."""
    lines = []
    for (task, trunk, split), own in rows.groupby(["task", "trunk", "split_step"]):
        alone = {heading: by_kind(own, *which) for heading, which in _OF_NOISE.items()}
        mixed = {heading: by_mixture(own, *which) for heading, which in _WITH_ORDER.items()}
        for kind in NOISES.values():
            if not alone["p_conv"][kind].empty:
                line = {"task": task, "trunk": trunk, "k": split, "noise": kind.label}
                line |= {heading: _cell(found[kind]) for heading, found in alone.items()}
                lines.append(
                    line | {each: _cell(found[kind]) if kind in found else "" for each, found in mixed.items()}
                )
    return pd.DataFrame(lines)


def chaos_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns for each split sigma_50 of both kinds of perturbations, and the exponent of the window that begins there."""
    lines = []
    for (task, trunk, split), own in rows.groupby(["task", "trunk", "split_step"]):
        found = {words: select(own, f"{kind}_sigma_50", "train") for kind, words in KINDS.items()}
        if all(each.empty for each in found.values()):
            continue
        at_split = rows[rows["task"].isin([task]) & rows["trunk"].isin([trunk]) & rows["step"].isin([split])]
        line = {"task": task, "trunk": trunk, "k": split}
        line |= {f"sigma_50, {words}": _cell(each) for words, each in found.items()}
        lines.append(line | {"Lyapunov exponent from W_k": _cell(select(at_split, "lyapunov_exponent"))})
    return pd.DataFrame(lines)


_DISTANCES = {
    "between endpoints": "kernel_distance_endpoints",
    "of endpoints to W_k": "kernel_distance_split",
    "between trunks": "kernel_distance_trunks",
}


def kernel_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns for each split the kernel's velocity at W_k, and the distances of the kernels of endpoints."""
    lines = []
    for (task, trunk, split), own in rows.groupby(["task", "trunk", "split_step"]):
        if select(own, "kernel_distance_endpoints").empty:
            continue
        of_task = rows[rows["task"].isin([task])]
        at_split = of_task[of_task["trunk"].isin([trunk]) & of_task["step"].isin([split])]
        of_trunks = of_task[of_task["trunk"].isna() & of_task["split_step"].isin([split])]
        line = {"task": task, "trunk": trunk, "k": split, "velocity at W_k": _cell(select(at_split, "kernel_velocity"))}
        found = pd.concat([own, of_trunks])
        lines.append(line | {heading: _cell(select(found, quantity)) for heading, quantity in _DISTANCES.items()})
    return pd.DataFrame(lines)


_OF_EXAMPLES = {
    "share right by all": "shared_share",
    "barrier of these": "example_barrier_shared",
    "of the others": "example_barrier_unshared",
    "share with a barrier above 0": "p_example_barrier",
    "EL2N of those right by all": "el2n_shared",
    "EL2N of the others": "el2n_unshared",
    "rank correlation of EL2N and barrier": "el2n_barrier_correlation",
}


def example_barriers_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns barriers of training examples that all endpoints of a mode have right, and of the others, beside EL2N."""
    lines = []
    for (task, trunk, split), own in rows.groupby(["task", "trunk", "split_step"]):
        if not select(own, "example_barrier", "train").empty:
            line = {"task": task, "trunk": trunk, "k": split}
            cells = {heading: _cell(select(own, name, "train")) for heading, name in _OF_EXAMPLES.items()}
            lines.append(line | cells)
    return pd.DataFrame(lines)


def shared_examples_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns what is measured of the hulls of branches that see a part of the examples, a line a part, beside all examples."""
    lines = []
    for (task, trunk, split), own in rows.groupby(["task", "trunk", "split_step"]):
        numbers = {part: select(own, f"num_examples_on_{name}") for name, part in PARTS.items()}
        if all(each.empty for each in numbers.values()):
            continue
        seen = {
            name: by_part(own, name, own=True) for name in ("p_conv", "p_rand", "p_jensen_negative", "barrier_loss")
        }
        train = {name: by_part(own, name) for name in ("p_conv", "endpoint_accuracy", "hull_point_accuracy")}
        for part in seen["p_conv"]:
            if not seen["p_conv"][part].empty:
                count = numbers.get(part, own.iloc[:0])["value"]
                line = {"task": task, "trunk": trunk, "k": split, "trained on": part.label}
                line["examples"] = "all" if count.empty else int(count.iloc[-1])
                line |= {f"{name}, seen": _cell(found[part]) for name, found in seen.items()}
                lines.append(line | {f"{name}, all": _cell(found[part]) for name, found in train.items()})
    return pd.DataFrame(lines)


def _range(rows: pd.DataFrame) -> str:
    """Returns the mean over branches at their last step, with the smallest and the largest."""
    if rows.empty:
        return ""
    last = rows[rows["step"].isna() | rows["step"].eq(rows["step"].max())]["value"]
    return f"{last.mean():.3g} ({last.min():.3g} to {last.max():.3g})"


def _cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    row = rows.iloc[-1]
    ends = [_end(row["low"]), _end(row["high"])]
    return f"{row['value']:.3g}" + (f" [{', '.join(ends)}]" if any(ends) else "")


def _end(value: float) -> str:
    """Returns an end of an interval; nothing where it is open."""
    return "" if pd.isna(value) else f"{value:.3g}"


def _counts(rows: pd.DataFrame) -> dict[str, Any]:
    """Returns how many endpoints and hull points rows of a mode rest on."""
    return {"P": rows["num_endpoints"].iloc[-1], "J": rows["num_samples"].iloc[-1]}
