"""Tables of the questions that the paper leaves open."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lmc_lab.reporting.alignment_ways import by_way
from lmc_lab.reporting.chosen_parts import PARTS, by_part
from lmc_lab.reporting.noise_kinds import KINDS as NOISES
from lmc_lab.reporting.noise_kinds import by_kind, by_mixture
from lmc_lab.reporting.perturbations import KINDS
from lmc_lab.results.select import select

_MODE = ("task", "trunk", "split_step")  # what a line is of
_TRUNKS = ("task", "split_step")  # the same of modes of several trunks
_HEADINGS = {"task": "task", "trunk": "trunk", "split_step": "k"}

Line = dict[str, Any]


@dataclass(frozen=True)
class _Split:
    """Rows that lines of a split are made of.

    Args:
        own: of its mode, or of the modes of several trunks.
        all: of every subject.
        where: its task, its trunk where there is one, and its step.
    """

    own: pd.DataFrame
    all: pd.DataFrame
    where: dict[str, Any]

    def at_split(self) -> pd.DataFrame:
        """Returns the rows of W_k."""
        is_at_split = self.all["split_step"].isna() & self.all["step"].isin([self.where["split_step"]])
        return self.all[is_at_split & self._has("task") & self._has("trunk")]

    def of_trunks(self) -> pd.DataFrame:
        """Returns the rows of several trunks at the same step."""
        return self.all[self.all["trunk"].isna() & self._has("task") & self._has("split_step")]

    def _has(self, column: str) -> pd.Series:
        return self.all[column].isin([self.where[column]])


def _table(
    rows: pd.DataFrame, lines: Callable[[_Split], Iterator[Line]], keys: tuple[str, ...] = _MODE
) -> pd.DataFrame:
    """Returns the lines of each split, after what they are of."""
    return pd.DataFrame(
        {_HEADINGS[key]: value for key, value in where.items()} | line
        for names, split_rows in rows.groupby(list(keys))
        for where in [dict(zip(keys, names, strict=True))]
        for line in lines(_Split(split_rows, rows, where))
    )


_TERMS = {
    "bend": "gap_bend",
    "gain of averaging": "gap_averaging",
    "of averaging probabilities": "gap_averaging_probabilities",
    "advantage of the nearest endpoint": "gap_corner",
    "above the nearest endpoint": "gap_excess",
    "share of points with a bend below 0": "p_bend_negative",
}
_AVERAGED = {"centre": "of the centre", "ensemble": "of the mean of outputs", "probabilities": "of probabilities"}


def gap_terms_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the terms of the Jensen gap of each mode on the training set, with their intervals."""
    return _table(rows, _gap_terms)


def _gap_terms(split: _Split) -> Iterator[Line]:
    terms = select(split.own, "gap_bend", "train")
    if not terms.empty:
        yield _counts(terms) | _cells(split.own, _TERMS)


def ensembles_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the training loss and the test accuracy of each mode's centre, and of the ensembles of its endpoints."""
    return _table(rows, _ensembles)


def _ensembles(split: _Split) -> Iterator[Line]:
    if select(split.own, "ensemble_loss", "train").empty:
        return
    losses = {f"{kind}_loss": f"training loss {what}" for kind, what in _AVERAGED.items()}
    accuracies = {f"{kind}_accuracy": f"test accuracy {what}" for kind, what in _AVERAGED.items()}
    line = {heading: _cell(select(split.own, quantity, "train")) for quantity, heading in losses.items()}
    yield line | {heading: _cell(select(split.own, quantity, "test")) for quantity, heading in accuracies.items()}


_MEASURES = {"NC1": "nc1", "NC2, norms": "nc2_equinorm", "NC2, angles": "nc2_maximal_angle", "NC3": "nc3"}


def collapse_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the measures of collapse at each split and of its endpoints, and how much class means bend over its hull."""
    return _table(rows, _collapse)


def _collapse(split: _Split) -> Iterator[Line]:
    bend = select(split.own, "class_mean_bend", "train")
    if bend.empty:
        return
    line, at_split = _counts(bend), split.at_split()
    for heading, quantity in _MEASURES.items():
        line[f"{heading} at W_k"] = _cell(select(at_split, quantity, "train"))
        line[f"{heading} of endpoints"] = _range(select(split.own, quantity, "train"))
    yield line | {"bend of class means": _cell(bend)}


_COSINES = {"in one hull": "class_cosine_difference_intra", "between hulls": "class_cosine_difference_inter"}


def class_geometry_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns by how much cosines between classes differ in one hull, and in hulls of different trunks, at each split."""
    return _table(rows, _class_geometry, _TRUNKS)


def _class_geometry(split: _Split) -> Iterator[Line]:
    between = select(split.own, _COSINES["between hulls"], "train")
    if not between.empty:
        yield {"endpoints": between["num_samples"].iloc[-1]} | _cells(split.own, _COSINES)


_OF_UNION = {
    "barrier between trunks": "barrier_loss",
    "p_conv of all": "p_conv",
    "p_rand of all": "p_rand",
    "loss at the centre of all": "centre_loss",
    "share of S* that it has right": "centre_right",
}


def alignment_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns what is measured of all trunks' endpoints at each split, for each way to align their neurons."""
    return _table(rows, _alignment, _TRUNKS)


def _alignment(split: _Split) -> Iterator[Line]:
    of_ways = {heading: by_way(split.own, quantity) for heading, quantity in _OF_UNION.items()}
    for way, lengths in by_way(split.own, "distance", None).items():
        if not lengths.empty:
            yield {"aligned by": way.label, "distance": _cell(lengths)} | _cells_of(way, of_ways)


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
    return _table(rows, _noise)


def _noise(split: _Split) -> Iterator[Line]:
    alone = {heading: by_kind(split.own, *what) for heading, what in _OF_NOISE.items()}
    mixed = {heading: by_mixture(split.own, *what) for heading, what in _WITH_ORDER.items()}
    for kind in NOISES.values():
        if not alone["p_conv"][kind].empty:
            yield {"noise": kind.label} | _cells_of(kind, alone) | _cells_of(kind, mixed)


def chaos_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns for each split sigma_50 of both kinds of perturbations, and the exponent of the window that begins there."""
    return _table(rows, _chaos)


def _chaos(split: _Split) -> Iterator[Line]:
    line = _cells(split.own, {f"sigma_50, {words}": f"{kind}_sigma_50" for kind, words in KINDS.items()})
    if any(line.values()):
        exponent = select(split.at_split(), "lyapunov_exponent")
        yield line | {"Lyapunov exponent from W_k": _cell(exponent)}


_DISTANCES = {
    "between endpoints": "kernel_distance_endpoints",
    "of endpoints to W_k": "kernel_distance_split",
    "between trunks": "kernel_distance_trunks",
}


def kernel_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns for each split the kernel's velocity at W_k, and the distances of the kernels of endpoints."""
    return _table(rows, _kernel)


def _kernel(split: _Split) -> Iterator[Line]:
    if not select(split.own, "kernel_distance_endpoints").empty:
        velocity = _cell(select(split.at_split(), "kernel_velocity"))
        distances = pd.concat([split.own, split.of_trunks()])
        yield {"velocity at W_k": velocity} | _cells(distances, _DISTANCES, subset=None)


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
    return _table(rows, _example_barriers)


def _example_barriers(split: _Split) -> Iterator[Line]:
    if not select(split.own, "example_barrier", "train").empty:
        yield _cells(split.own, _OF_EXAMPLES)


_OF_SEEN = ("p_conv", "p_rand", "p_jensen_negative", "barrier_loss")
_OF_ALL = ("p_conv", "endpoint_accuracy", "hull_point_accuracy")


def shared_examples_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns what is measured of the hulls of branches that see a part of the examples, a line a part, beside all examples."""
    return _table(rows, _shared_examples)


def _shared_examples(split: _Split) -> Iterator[Line]:
    numbers = {part: select(split.own, f"num_examples_on_{name}") for name, part in PARTS.items()}
    if all(number.empty for number in numbers.values()):
        return
    seen = {f"{name}, seen": by_part(split.own, name, own=True) for name in _OF_SEEN}
    everything = {f"{name}, all": by_part(split.own, name) for name in _OF_ALL}
    for part, part_rows in seen["p_conv, seen"].items():
        if not part_rows.empty:
            count = int(numbers[part]["value"].iloc[-1]) if part in numbers else "all"
            yield {"trained on": part.label, "examples": count} | _cells_of(part, seen) | _cells_of(part, everything)


def _cells(rows: pd.DataFrame, quantities: Mapping[str, str], *, subset: str | None = "train") -> Line:
    """Returns a cell for each quantity."""
    return {heading: _cell(select(rows, quantity, subset)) for heading, quantity in quantities.items()}


def _cells_of(kind: Any, by_heading: Mapping[str, Mapping[Any, pd.DataFrame]]) -> Line:
    """Returns a cell for each quantity that was found of kinds; empty where it is not there for `kind`."""
    return {heading: _cell(rows[kind]) if kind in rows else "" for heading, rows in by_heading.items()}


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
