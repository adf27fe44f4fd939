"""Several trunks as one: the mean over them, with an interval, from so many on that it means something."""

from collections.abc import Hashable, Iterator

import pandas as pd
from scipy.special import stdtrit

FEWEST = 5  # trunks; the interval of four is a third wider, and that of two has no use
ABOUT = f"Squares, from {FEWEST} trunks on: the mean over trunks, with Student's 95 % interval."


def over_trunks(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean over trunks at each split that enough of them have, with Student's t interval.

    Trunks are independent of each other, unlike the hull points of one hull, of which the interval of a row is.

    Args:
        rows: of one quantity and one subset, a row for each trunk and split (of each task).

    Returns:
        Rows like these, of no trunk.
    """
    return pd.DataFrame(_means(rows), columns=rows.columns).astype(rows.dtypes)


def _means(rows: pd.DataFrame) -> Iterator[dict[Hashable, object]]:
    for _, of_split in rows.groupby(["task", "split_step"]):
        values = of_split["value"].dropna()
        if len(values) >= FEWEST:
            mean, half = float(values.mean()), float(stdtrit(len(values) - 1, 0.975) * values.sem())
            of_all = {"trunk": None, "value": mean, "low": mean - half, "high": mean + half, "num_samples": len(values)}
            yield of_split.iloc[0].to_dict() | of_all
