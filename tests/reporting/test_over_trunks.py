"""The mean over trunks: scipy's t interval, and none of a few."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lmc_lab.reporting.figures.figure2 import draw
from lmc_lab.reporting.interactive import figure2
from lmc_lab.reporting.over_trunks import over_trunks
from lmc_lab.results.row_file import SCHEMA

VALUES = np.array([0.2, 0.35, 0.6, 0.4, 0.9])


@pytest.fixture
def rows():
    """p_conv of five trunks at step 10, and of four of them at step 20."""
    lines = [
        {
            "task": "made up",
            "quantity": "p_conv",
            "subset": "train",
            "trunk": trunk,
            "split_step": split,
            "value": value,
        }
        for split, values in ((10, VALUES), (20, VALUES[:4]))
        for trunk, value in enumerate(values)
    ]
    return pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)


def test_the_interval_is_students(rows):
    (found,) = over_trunks(rows).to_dict("records")
    low, high = stats.t.interval(0.95, 4, loc=VALUES.mean(), scale=stats.sem(VALUES))
    assert [found["value"], found["low"], found["high"]] == pytest.approx([VALUES.mean(), low, high])
    assert (found["split_step"], found["num_samples"], pd.isna(found["trunk"])) == (10, 5, True)


def test_four_trunks_are_points(rows):
    assert over_trunks(rows[rows["trunk"] < 4]).empty


@pytest.mark.parametrize(("count", "expected"), [(5, 1), (4, 0)])
def test_a_report_shows_it(rows, count, expected):
    rows = rows[rows["trunk"] < count].assign(low=np.nan, high=np.nan)
    (axis,) = draw(rows).axes[:1]
    labels = axis.get_legend_handles_labels()[1]
    assert labels.count("mean over trunks") == expected
    (panel,) = (panel for panel in figure2.draw(rows) if panel.traces)
    (trace,) = [*(each for each in panel.traces if each["meta"]["series"] == "mean over trunks"), None][:1]
    assert (trace is not None) == bool(expected)
    if trace:
        assert trace["y"] == [0.49] and trace["meta"]["trunk"] is None
