"""Branches from beside W_k: what the page and the figure for papers both show of them."""

import pandas as pd

from lmc_lab.results.select import select

KINDS = {"gaussian": "Gaussian", "gradient": "along a gradient"}
SIGMA_50 = tuple(f"{kind}_sigma_50" for kind in KINDS)
SHARES = tuple(f"p_{kind}_barrier" for kind in KINDS)
SIZE = "perturbation_size"
_KEYS = ["task", "trunk", "split_step", "index"]


def shares_by_size(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Returns the rows of the share of pairs with a barrier on the training set, with a column `size`, above 0, in order."""
    sizes = select(rows, SIZE)[[*_KEYS, "value"]].rename(columns={"value": "size"}).drop_duplicates(_KEYS)
    shares = select(rows, f"p_{kind}_barrier", "train").merge(sizes, on=_KEYS)
    return shares[shares["size"] > 0].sort_values([*_KEYS[:-1], "size"])


def half_points(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Returns the rows of sigma_50, from 0 on where every size has barriers, so that it is known from above alone."""
    half = select(rows, f"{kind}_sigma_50", "train")
    return half.assign(low=half["low"].mask(half["low"].isna() & half["high"].notna(), 0.0))
