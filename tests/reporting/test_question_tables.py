"""Tables of open questions, from rows by hand."""

import pandas as pd

from lmc_lab.reporting.question_tables import gap_terms_table
from lmc_lab.results.row_file import SCHEMA


def test_a_line_a_mode_with_intervals_where_there_are_some():
    shared = {"task": "t", "trunk": 0, "split_step": 5, "subset": "train", "num_samples": 7, "num_endpoints": 3}
    rows = (
        pd.DataFrame(
            [
                {**shared, "quantity": "gap_bend", "value": 0.25, "low": 0.125, "high": 0.375},
                {**shared, "quantity": "ensemble_loss", "value": 0.5},
                {**shared, "quantity": "gap_bend", "value": 9.0, "subset": "test"},
                {**shared, "quantity": "p_conv", "value": 1.0, "split_step": 6},
            ]
        )
        .reindex(columns=list(SCHEMA))
        .astype(SCHEMA)
    )
    (line,) = gap_terms_table(rows).to_dict("records")
    assert line["bend"] == "0.25 [0.125, 0.375]" and line["loss of the ensemble of outputs"] == "0.5"
    assert (line["k"], line["P"], line["J"], line["above the nearest endpoint"]) == (5, 3, 7, "")
