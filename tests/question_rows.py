"""Rows of open questions by hand: two trunks, with branches from two splits and a hull each."""

from itertools import product

import pandas as pd

from lmc_lab.reporting.alignment_ways import WAYS
from lmc_lab.reporting.chosen_parts import PARTS
from lmc_lab.reporting.noise_kinds import KINDS
from lmc_lab.results.row_file import SCHEMA

MEASURES = ("nc1", "nc2_equinorm", "nc2_equiangular", "nc2_maximal_angle", "nc3", "feature_norm")
_BY_LAYER = ("layer_barrier", "layer_barrier_random", "feature_deviation_hull", "feature_deviation_endpoints")
SPLITS, LAST = (0, 25), 1500


def collapse_rows(task="mnist1d"):
    """Values fall along training; those of a measure are larger by its number."""
    shared = {"task": task, "subset": "train", "num_samples": 4000}
    rows = [
        {**shared, "quantity": name, "trunk": trunk, "step": step, "value": scale * (1 + trunk) / (1 + step / 25)}
        for (scale, name), trunk, step in product(enumerate(MEASURES, 1), (0, 1), (*SPLITS, LAST))
    ]
    rows += [
        {
            **shared, "quantity": name, "trunk": trunk, "split_step": split, "branch": branch, "step": step,
            "value": scale * (1 + trunk) / (2 + branch + step / 25), "num_endpoints": 2,
        }
        for (scale, name), trunk, split, branch, step in product(enumerate(MEASURES, 1), (0, 1), SPLITS, (0, 1), (100, LAST))
    ]  # fmt: skip
    for trunk, split in product((0, 1), SPLITS):
        own = {"trunk": trunk, "split_step": split, "num_endpoints": 2}
        value = 0.2 / (1 + split)
        bend = {"quantity": "class_mean_bend", "value": value, "low": 0.9 * value, "high": 1.1 * value}
        rows.append({**shared, **own, **bend, "num_samples": 100})
        rows.append({**shared, **own, "quantity": "centre_class_mean_bend", "value": 1.2 * value})
    for kind, value in (("intra", 0.1), ("inter", 0.3)):
        own = {"split_step": 25, "num_endpoints": 4, "num_samples": 4, "low": value - 0.05, "high": value + 0.05}
        rows.append({**shared, **own, "quantity": f"class_cosine_difference_{kind}", "value": value})
    return _as_rows(rows)


def chaos_rows(task="mnist1d"):
    """Differences grow at first, and shrink later."""
    rows = []
    for trunk, (number, step) in product((0, 1), enumerate((*SPLITS, 100))):
        for scale, name in enumerate(("lyapunov_exponent", "difference_growth"), 1):
            value = (0.01 - 0.006 * number) / scale
            own = {"task": task, "trunk": trunk, "step": step, "quantity": name, "num_samples": 3}
            rows.append({**own, "value": value, "low": value - 0.001, "high": value + 0.001})
    for trunk, (number, split), (index, size) in product((0, 1), enumerate(SPLITS), enumerate((0.0, 0.1, 1.0))):
        own = {"task": task, "trunk": trunk, "split_step": split, "index": index, "num_endpoints": 2}
        rows.append({**own, "quantity": "perturbation_size", "value": size})
        for kind in ("gaussian", "gradient"):
            share = {
                "quantity": f"p_{kind}_barrier",
                "subset": "train",
                "value": index / (2 + number),
                "num_samples": 2,
            }
            rows.append({**own, **share})
    for trunk, (number, split), kind in product((0, 1), enumerate(SPLITS), ("gaussian", "gradient")):
        own = {"task": task, "trunk": trunk, "split_step": split, "quantity": f"{kind}_sigma_50", "subset": "train"}
        value = 0.2 * (1 + number) * (1 + trunk)
        rows.append({**own, "value": value, "low": value / 2, "high": None if number else 2 * value, "num_samples": 6})
    return pd.DataFrame(rows).reindex(columns=list(SCHEMA)).astype(SCHEMA)


def noise_rows(task="mnist1d"):
    """Hulls are larger and p_conv is smaller the later a kind stands in the list; mixtures lie between."""
    rows = []
    for trunk, (number, split) in product((0, 1), enumerate(SPLITS)):
        own = {"task": task, "trunk": trunk, "split_step": split, "num_endpoints": 4}
        hulls = [*KINDS, *(f"order_and_{kind}" for kind in KINDS if kind not in ("order", "plain")), "mixed"]
        for place, hull in enumerate(hulls):
            share = (number + 1) / (3 + place)
            for name in ("p_conv", "p_rand", "p_jensen_negative"):
                found = {"quantity": f"{name}_noise_{hull}", "subset": "train", "value": share, "num_samples": 100}
                rows.append({**own, **found, "low": share - 0.1, "high": share + 0.1})
            for name in ("endpoint_loss", "centre_loss"):
                rows.append({**own, "quantity": f"{name}_noise_{hull}", "subset": "train", "value": share / 4})
            for name in ("hull_radius", "endpoint_endpoint"):
                length = {"value": 5.0 + place + trunk, "low": 4.0 + place, "high": 7.0 + place, "num_samples": 4}
                rows.append({**own, **length, "quantity": f"{name}_noise_{hull}"})
    return _as_rows(rows)


def example_rows(task="mnist1d"):
    """Barriers fall with the split, and are larger outside S_j and for larger EL2N."""
    rows = []
    scales = {"example_barrier_shared": 1, "example_barrier": 2, "example_barrier_unshared": 8, "el2n_shared": 10}
    scales |= {"el2n_unshared": 20, "p_example_barrier": 5, "shared_share": 15, "el2n_barrier_correlation": 12}
    for trunk, (number, split) in product((0, 1), enumerate(SPLITS)):
        own = {"task": task, "subset": "train", "trunk": trunk, "split_step": split, "num_endpoints": 3}
        for name, scale in scales.items():
            value = 0.02 * scale * (1 + trunk) / (1 + number)
            interval = {} if name == "shared_share" else {"low": 0.9 * value, "high": 1.1 * value, "num_samples": 3}
            rows.append({**own, **interval, "quantity": name, "value": value})
        for tenth in range(1, 11):
            value = 0.01 * tenth * (1 + trunk) / (1 + number)
            rows.append({**own, "quantity": "example_barrier_by_el2n", "index": tenth, "value": value})
    return _as_rows(rows)


def part_rows(task="mnist1d"):
    """Shares grow with the split, and are smaller for the later parts; barriers the other way round."""
    rows = []
    stems = ("p_conv", "p_rand", "p_jensen_negative", "endpoint_accuracy", "hull_point_accuracy", "barrier_loss")
    for trunk, (number, split) in product((0, 1), enumerate(SPLITS)):
        own = {"task": task, "trunk": trunk, "split_step": split, "num_endpoints": 3}
        for place, part in enumerate(PARTS):
            rows.append({**own, "quantity": f"num_examples_on_{part}", "value": 100 * (1 + place)})
            for stem, suffix in product(stems, (f"on_{part}", f"on_{part}_own", f"of_{part}")):
                value = (0.5 - 0.1 * place) * (1 + number) * (0.9 if suffix.endswith("own") else 1)
                interval = {"low": 0.9 * value, "high": min(1.1 * value, 1), "num_samples": 20}
                rows.append({**own, **interval, "subset": "train", "quantity": f"{stem}_{suffix}", "value": value})
        for stem in stems:  # of the plain branches
            rows.append({**own, "subset": "train", "quantity": stem, "value": 0.2 * (1 + number)})
    return _as_rows(rows)


def shape_rows(task="mnist1d"):
    """Barriers fall with the split, and those of layers and deviations of features grow with the layer."""
    rows = []
    for trunk, (number, split) in product((0, 1), enumerate(SPLITS)):
        own = {"task": task, "subset": "train", "trunk": trunk, "split_step": split, "num_endpoints": 2}
        for scale, name in enumerate(("star_barrier_loss", "barrier_loss", "star_rise_loss"), 1):
            value = scale * (1 + trunk) / (1 + number)
            rows.append(
                {**own, "quantity": name, "value": value, "low": value / 2, "high": 2 * value, "num_samples": 2}
            )
        for (scale, name), layer in product(enumerate(_BY_LAYER, 1), (1, 2, 3)):
            rows.append({**own, "quantity": name, "index": layer, "value": scale * layer / (1 + number) / 100})
    for split, name in product(SPLITS, ("inter_star_barrier_loss", "inter_pair_barrier_loss")):
        rows.append({"task": task, "subset": "train", "split_step": split, "quantity": name, "value": 3.0})
    return _as_rows(rows)


def alignment_rows(task="mnist1d"):
    """Barriers are lower and p_conv is higher the later a way stands in the list, at the later split more so."""
    rows = []
    for (number, way), split in product(enumerate(WAYS), SPLITS):
        value = (len(WAYS) - number) / (1 + split / 25)
        own = {"task": task, "subset": "train", "split_step": split, "num_endpoints": 4}
        interval = {"low": 0.9 * value, "high": 1.1 * value, "num_samples": 4}
        rows.append({**own, **interval, "quantity": f"barrier_loss_union_{way}", "value": value})
        rows.append({**own, "subset": None, "quantity": f"distance_union_{way}", "value": 10 * value})
        if way != "pairs":
            share = number / 10
            for name in ("p_conv", "p_rand"):
                found = {"quantity": f"{name}_union_{way}", "value": share, "num_samples": 100}
                rows.append({**own, **found, "low": max(share - 0.1, 0), "high": share + 0.1})
            rows.append({**own, "quantity": f"centre_right_union_{way}", "value": 0.5 + share})
            rows.append({**own, "quantity": f"centre_loss_union_{way}", "value": value / 2})
    return _as_rows(rows)


def kernel_rows(task="mnist1d"):
    """Kernels turn slower and slower; those of endpoints are closer to each other the later the split."""
    rows = []
    for trunk, (number, step) in product((0, 1), enumerate((*SPLITS, LAST))):
        own = {"task": task, "trunk": trunk, "step": step, "subset": "train"}
        for scale, name in enumerate(("velocity", "distance_first", "distance_next", "distance_last"), 1):
            value = scale * (1 + trunk) / (10 + 10 * number)
            interval = {"low": 0.9 * value, "high": 1.1 * value, "num_samples": 128}
            rows.append({**own, **interval, "quantity": f"kernel_{name}", "value": value})
        rows.append({**own, "quantity": "kernel_trace", "value": 30 * 10**number})
    for trunk, (number, split) in product((0, 1), enumerate(SPLITS)):
        own = {"task": task, "trunk": trunk, "split_step": split, "subset": "train", "num_endpoints": 2}
        for scale, name in enumerate(("endpoints", "split"), 1):
            value = scale * (1 + trunk) / (50 + 50 * number)
            interval = {"low": 0.5 * value, "high": 2 * value, "num_samples": 2}
            rows.append({**own, **interval, "quantity": f"kernel_distance_{name}", "value": value})
    for split in SPLITS:
        own = {"task": task, "split_step": split, "subset": "train", "num_endpoints": 4, "num_samples": 4}
        rows.append({**own, "quantity": "kernel_distance_trunks", "value": 0.3, "low": 0.2, "high": 0.4})
    return _as_rows(rows)


def _as_rows(rows):
    return pd.DataFrame(rows).reindex(columns=list(SCHEMA)).astype(SCHEMA)
