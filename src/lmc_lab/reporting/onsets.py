"""Splits and onsets as figures along training mark them, on the page and on paper."""

import pandas as pd

from lmc_lab.results.select import select

BESIDE = ("p_conv", "onset_p_conv")  # of which splits and onsets are marked


def splits_in(rows: pd.DataFrame) -> list[int]:
    """Returns the splits of the branches, and of hulls, in order."""
    return sorted({int(split) for split in rows["split_step"].dropna()})


def onsets(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """Returns the brackets of the trunks' onsets by `p_conv`: the last split that fails, the first from which on it holds.

    Where it holds from the first split on there is none.
    """
    found = select(rows, "onset_p_conv").dropna(subset=["low", "value"])
    return sorted(set(zip(found["low"].tolist(), found["value"].tolist(), strict=True)))
