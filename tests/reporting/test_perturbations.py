"""What is shown of perturbed branches."""

import pandas as pd

from lmc_lab.reporting.perturbations import half_points
from question_rows import chaos_rows


def test_a_half_point_that_is_known_from_above_alone_reaches_down_to_0():
    rows = chaos_rows()
    is_first = rows["quantity"].eq("gaussian_sigma_50") & rows["trunk"].eq(0) & rows["split_step"].eq(0)
    rows.loc[is_first, "low"] = pd.NA
    shown = half_points(rows, "gaussian").set_index(["trunk", "split_step"])
    assert (shown.loc[(0, 0), "low"], shown.loc[(0, 0), "high"]) == (0, 0.4)
    assert shown.loc[(1, 0), "low"] == 0.2
    assert pd.isna(shown.loc[(0, 25), "high"])  # open at the larger sizes
