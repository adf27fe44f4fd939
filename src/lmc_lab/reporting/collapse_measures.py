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


def along_training(rows: pd.DataFrame, quantity: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the rows of a measure along trunks, and along branches, that have a step."""
    of_steps = select(rows, quantity, "train").dropna(subset=["step"])
    return of_steps[of_steps["branch"].isna()], of_steps[of_steps["branch"].notna()]
