"""Tables of the questions that the paper leaves open."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd

from lmc_lab.reporting.alignment_ways import by_way
from lmc_lab.reporting.chosen_parts import PARTS, by_part
from lmc_lab.reporting.noise_kinds import KINDS as NOISES
from lmc_lab.reporting.noise_kinds import by_kind, by_mixture
from lmc_lab.reporting.perturbations import KINDS
from lmc_lab.reporting.split_table import (
    TRUNKS,
    Line,
    SplitRows,
    cell,
    cells,
    cells_of,
    counts,
    range_cell,
    split_table,
)
from lmc_lab.results.select import select

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
    return split_table(rows, _gap_terms)


def _gap_terms(split: SplitRows) -> Iterator[Line]:
    terms = select(split.own, "gap_bend", "train")
    if not terms.empty:
        yield counts(terms) | cells(split.own, _TERMS)


def ensembles_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the training loss and the test accuracy of each mode's centre, and of the ensembles of its endpoints."""
    return split_table(rows, _ensembles)


def _ensembles(split: SplitRows) -> Iterator[Line]:
    if select(split.own, "ensemble_loss", "train").empty:
        return
    losses = {f"{kind}_loss": f"training loss {what}" for kind, what in _AVERAGED.items()}
    accuracies = {f"{kind}_accuracy": f"test accuracy {what}" for kind, what in _AVERAGED.items()}
    line = {heading: cell(select(split.own, quantity, "train")) for quantity, heading in losses.items()}
    yield line | {heading: cell(select(split.own, quantity, "test")) for quantity, heading in accuracies.items()}


_MEASURES = {"NC1": "nc1", "NC2, norms": "nc2_equinorm", "NC2, angles": "nc2_maximal_angle", "NC3": "nc3"}


def collapse_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the measures of collapse at each split and of its endpoints, and how much class means bend over its hull."""
    return split_table(rows, _collapse)


def _collapse(split: SplitRows) -> Iterator[Line]:
    bend = select(split.own, "class_mean_bend", "train")
    if bend.empty:
        return
    line, at_split = counts(bend), split.at_split()
    for heading, quantity in _MEASURES.items():
        line[f"{heading} at W_k"] = cell(select(at_split, quantity, "train"))
        line[f"{heading} of endpoints"] = range_cell(select(split.own, quantity, "train"))
    yield line | {"bend of class means": cell(bend)}


_COSINES = {"in one hull": "class_cosine_difference_intra", "between hulls": "class_cosine_difference_inter"}


def class_geometry_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns by how much cosines between classes differ in one hull, and in hulls of different trunks, at each split."""
    return split_table(rows, _class_geometry, TRUNKS)


def _class_geometry(split: SplitRows) -> Iterator[Line]:
    between = select(split.own, _COSINES["between hulls"], "train")
    if not between.empty:
        yield {"endpoints": between["num_samples"].iloc[-1]} | cells(split.own, _COSINES)


_OF_UNION = {
    "barrier between trunks": "barrier_loss",
    "p_conv of all": "p_conv",
    "p_rand of all": "p_rand",
    "loss at the centre of all": "centre_loss",
    "share of S* that it has right": "centre_right",
}


def alignment_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns what is measured of all trunks' endpoints at each split, for each way to align their neurons."""
    return split_table(rows, _alignment, TRUNKS)


def _alignment(split: SplitRows) -> Iterator[Line]:
    of_ways = {heading: by_way(split.own, quantity) for heading, quantity in _OF_UNION.items()}
    for way, lengths in by_way(split.own, "distance", None).items():
        if not lengths.empty:
            yield {"aligned by": way.label, "distance": cell(lengths)} | cells_of(way, of_ways)


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
    return split_table(rows, _noise)


def _noise(split: SplitRows) -> Iterator[Line]:
    alone = {heading: by_kind(split.own, *what) for heading, what in _OF_NOISE.items()}
    mixed = {heading: by_mixture(split.own, *what) for heading, what in _WITH_ORDER.items()}
    for kind in NOISES.values():
        if not alone["p_conv"][kind].empty:
            yield {"noise": kind.label} | cells_of(kind, alone) | cells_of(kind, mixed)


def chaos_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns for each split sigma_50 of both kinds of perturbations, and the exponent of the window that begins there."""
    return split_table(rows, _chaos)


def _chaos(split: SplitRows) -> Iterator[Line]:
    line = cells(split.own, {f"sigma_50, {words}": f"{kind}_sigma_50" for kind, words in KINDS.items()})
    if any(line.values()):
        exponent = select(split.at_split(), "lyapunov_exponent")
        yield line | {"Lyapunov exponent from W_k": cell(exponent)}


_DISTANCES = {
    "between endpoints": "kernel_distance_endpoints",
    "of endpoints to W_k": "kernel_distance_split",
    "between trunks": "kernel_distance_trunks",
}


def kernel_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns for each split the kernel's velocity at W_k, and the distances of the kernels of endpoints."""
    return split_table(rows, _kernel)


def _kernel(split: SplitRows) -> Iterator[Line]:
    if not select(split.own, "kernel_distance_endpoints").empty:
        velocity = cell(select(split.at_split(), "kernel_velocity"))
        distances = pd.concat([split.own, split.of_trunks()])
        yield {"velocity at W_k": velocity} | cells(distances, _DISTANCES, subset=None)


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
    return split_table(rows, _example_barriers)


def _example_barriers(split: SplitRows) -> Iterator[Line]:
    if not select(split.own, "example_barrier", "train").empty:
        yield cells(split.own, _OF_EXAMPLES)


_OF_SEEN = ("p_conv", "p_rand", "p_jensen_negative", "barrier_loss")
_OF_ALL = ("p_conv", "endpoint_accuracy", "hull_point_accuracy")


def shared_examples_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns what is measured of the hulls of branches that see a part of the examples, a line a part, beside all examples."""
    return split_table(rows, _shared_examples)


def _shared_examples(split: SplitRows) -> Iterator[Line]:
    numbers = {part: select(split.own, f"num_examples_on_{name}") for name, part in PARTS.items()}
    if all(number.empty for number in numbers.values()):
        return
    seen = {f"{name}, seen": by_part(split.own, name, own=True) for name in _OF_SEEN}
    everything = {f"{name}, all": by_part(split.own, name) for name in _OF_ALL}
    for part, part_rows in seen["p_conv, seen"].items():
        if not part_rows.empty:
            count = int(numbers[part]["value"].iloc[-1]) if part in numbers else "all"
            yield {"trained on": part.label, "examples": count} | cells_of(part, seen) | cells_of(part, everything)


class QuestionTable(NamedTuple):
    """A table of a question.

    Args:
        heading: on the page.
        analysis: without whose rows it is empty.
        of: makes it of rows.
    """

    heading: str
    analysis: str
    of: Callable[[pd.DataFrame], pd.DataFrame]


def asked_tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Returns the tables of the questions that were asked, by their headings."""
    measured = set(rows["analysis"])
    return {table.heading: table.of(rows) for table in QUESTION_TABLES.values() if table.analysis in measured}


QUESTION_TABLES = {
    "gap_terms": QuestionTable("Terms of the Jensen gap", "gap_terms", gap_terms_table),
    "ensembles": QuestionTable("Centres and ensembles", "gap_terms", ensembles_table),
    "collapse": QuestionTable("Neural collapse", "hull_collapse", collapse_table),
    "class_geometry": QuestionTable(
        "Differences of the cosines between classes", "inter_collapse", class_geometry_table
    ),
    "alignment": QuestionTable("All trunks' endpoints, neurons aligned", "inter_alignment", alignment_table),
    "noise": QuestionTable("Branches that differ in one kind of noise", "noise_hulls", noise_table),
    "chaos": QuestionTable("Perturbations of W_k", "perturbed_branches", chaos_table),
    "kernel": QuestionTable("Tangent kernels", "branch_kernel", kernel_table),
    "example_barriers": QuestionTable("Barriers of examples", "example_barriers", example_barriers_table),
    "shared_examples": QuestionTable(
        "Branches that see a part of the examples", "shared_examples", shared_examples_table
    ),
}
