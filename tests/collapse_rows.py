"""Rows of neural collapse by hand: two trunks, with branches from two splits, a hull each and an onset."""

from itertools import product

import pandas as pd

from lmc_lab.results.row_file import SCHEMA

MEASURES = ("nc1", "nc2_equinorm", "nc2_equiangular", "nc2_maximal_angle", "nc3", "feature_norm")
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
    return pd.DataFrame(rows).reindex(columns=list(SCHEMA)).astype(SCHEMA)
