"""What a panel of the page shows of rows."""

import pandas as pd

from lmc_lab.reporting.panel import Series, by_trunk
from lmc_lab.results.row_file import SCHEMA


def trace(**row):
    line = {"task": "mine", "trunk": 0, "split_step": 50, "num_samples": 7, "num_endpoints": 5} | row
    (found,) = by_trunk(
        pd.DataFrame([line]).reindex(columns=list(SCHEMA)).astype(SCHEMA), Series("it", "#000"), within=(0, 1)
    )
    return found


def test_what_an_interval_rests_on_is_called_j_of_hull_points_alone():
    assert "J = 7, P = 5" in trace(quantity="p_conv", value=0.5)["text"][0]
    assert "J = 7" in trace(quantity="hull_point_loss", value=0.5)["text"][0]
    for quantity in ("endpoint_accuracy", "p_conv_hulls", "p_gap_negative", "endpoint_endpoint"):
        assert "n = 7, P = 5" in trace(quantity=quantity, value=0.5)["text"][0]


def test_an_interval_ends_where_the_quantity_does():
    found = trace(quantity="endpoint_accuracy", value=0.9, low=-0.2, high=1.3)
    assert "[0, 1]" in found["text"][0]
    assert found["error_y"]["array"] == [0.1] and found["error_y"]["arrayminus"] == [0.9]


def test_a_trunk_has_its_symbol_also_where_others_are_missing():
    lines = pd.DataFrame(
        [{"task": "mine", "trunk": trunk, "split_step": 50, "value": 0.5, "quantity": "p_conv"} for trunk in (0, 1)]
    )
    rows = lines.reindex(columns=list(SCHEMA)).astype(SCHEMA)
    symbols = [found["marker"]["symbol"] for found in by_trunk(rows, Series("it", "#000"))]
    assert symbols == ["circle", "diamond"]
    (alone,) = by_trunk(rows[rows["trunk"] == 1], Series("it", "#000"))
    assert alone["marker"]["symbol"] == "diamond"
