"""Measures of neural collapse along training: what the page and the figure for papers both show."""

from dataclasses import dataclass

import pandas as pd

from lmc_lab.results.select import select


@dataclass(frozen=True)
class CollapseMeasure:
    """What one measure is called, in short and in words, and whether it is drawn on a logarithmic axis."""

    name: str
    words: str
    is_log: bool = False

    @property
    def title(self) -> str:
        """Returns both."""
        return f"{self.name}: {self.words}"


MEASURES = {
    "nc1": CollapseMeasure("NC1", "scatter within classes", is_log=True),
    "nc3": CollapseMeasure("NC3", "distance of weights from class means"),
    "nc2_equinorm": CollapseMeasure("NC2, norms", "deviation over classes"),
    "nc2_maximal_angle": CollapseMeasure("NC2, angles", "distance from those of a simplex"),
    "feature_norm": CollapseMeasure("|features|", "mean norm", is_log=True),
}
BESIDE = ("p_conv", "onset_p_conv")  # of which splits and onsets are marked


def along_training(rows: pd.DataFrame, quantity: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the rows of a measure along trunks, and along branches, that have a step."""
    own = select(rows, quantity, "train").dropna(subset=["step"])
    return own[own["branch"].isna()], own[own["branch"].notna()]


def splits_in(rows: pd.DataFrame) -> list[int]:
    """Returns the splits of the branches, and of hulls, in order."""
    return sorted({int(split) for split in rows["split_step"].dropna()})


def onsets(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """Returns the brackets of the trunks' onsets by `p_conv`: the last split that fails, the first from which on it holds.

    Where it holds from the first split on there is none.
    """
    found = select(rows, "onset_p_conv").dropna(subset=["low", "value"])
    return sorted(set(zip(found["low"].tolist(), found["value"].tolist(), strict=True)))
