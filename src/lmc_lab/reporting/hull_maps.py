"""The hull over time as tables: what the map on the page and the figure for papers both show."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class HullMap:
    """One quantity over the split k and the step t."""

    quantity: str
    subset: str | None
    title: str
    is_share: bool  # between 0 and 1; else a length


HULL_MAPS = (
    HullMap("p_conv", "train", "p_conv", True),
    HullMap("p_jensen_negative", "train", "P(Jensen gap < 0)", True),
    HullMap("hull_radius", None, "hull radius", False),
)


def hull_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the values of one quantity of one trunk by t (rows) and k (columns), NaN where t <= k."""
    whole = rows.astype({"split_step": int, "step": int})
    return whole.groupby(["step", "split_step"])["value"].mean().unstack()
