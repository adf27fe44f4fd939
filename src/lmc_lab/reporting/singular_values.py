"""The singular values of a mode's endpoints, as Figure 3 shows them."""

import pandas as pd

from lmc_lab.results.select import select

_MODE = ["split_step", "trunk"]


def over_largest(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Returns the singular values, ``raw`` or ``centred``, of each mode over the largest of them.

    Those that are rounding are left out: the last centred value is zero but for it, since P points span P - 1 dimensions.
    """
    floors = select(rows, f"singular_value_floor_{kind}").groupby(_MODE, dropna=False)["value"].max().rename("floor")
    values = select(rows, f"singular_value_{kind}").merge(floors.reset_index(), on=_MODE, how="left")
    values = values[~(values["value"] <= values["floor"])]
    return values.assign(value=values["value"] / values.groupby(_MODE, dropna=False)["value"].transform("max"))
