"""What is marked beside measures of collapse: splits, and onsets that have a bracket."""

import pandas as pd
import pytest

from lmc_lab.reporting.collapse_measures import along_training
from lmc_lab.reporting.interactive import neural_collapse
from lmc_lab.reporting.onsets import onsets
from lmc_lab.results.row_file import SCHEMA
from lmc_lab.results.select import steps_in
from question_rows import SPLITS, collapse_rows


@pytest.fixture
def rows():
    found = [
        {"trunk": 0, "value": 25.0, "low": 0.0, "high": 25.0},
        {"trunk": 1, "value": 0.0},  # it holds from the first split on
        {"trunk": 2, "value": float("inf"), "low": 25.0},  # it never holds
    ]
    onset = pd.DataFrame([{"task": "mnist1d", "quantity": "onset_p_conv", "subset": "train", **each} for each in found])
    return pd.concat([collapse_rows(), onset.reindex(columns=list(SCHEMA)).astype(SCHEMA)], ignore_index=True)


def test_trunks_and_branches_are_apart(rows):
    trunks, branches = along_training(rows, "nc3")
    assert set(trunks["quantity"]) == set(branches["quantity"]) == {"nc3"}
    assert len(trunks) == 6 and trunks["split_step"].isna().all()
    assert len(branches) == 16 and branches["split_step"].notna().all()


def test_the_page_marks_splits_and_brackets_and_no_others(rows):
    figure = neural_collapse.FIGURE
    panels = figure.drawn(rows)
    along = [panel for panel in panels if panel.x == "step"]
    assert len(along) == 5 and all(panel.spans == [(0.0, 25.0, (0,))] for panel in along)
    assert all(list(panel.lines) == list(SPLITS) for panel in along)
    assert steps_in(rows) == list(SPLITS) and onsets(figure.rows_of(rows)) == [(0.0, 25.0, (0,))]
    series = {trace["meta"]["series"] for panel in along for trace in panel.traces}
    assert series == {"trunk", "branches from k = 0", "branches from k = 25"}
