"""What the report says of how sure its numbers are."""

import json

import pandas as pd
import pytest
from benchmarks.bootstrap_coverage import above_the_mean, coverage, squared_distances

from lmc_lab.reporting.bootstrap_coverage import COVERAGE, coverage_text
from lmc_lab.reporting.cautions import cautions
from lmc_lab.results.row_file import SCHEMA
from question_rows import alignment_rows


def told(*nums_samples, low=0.1):
    common = {"task": "t", "trunk": 0, "quantity": "barrier_loss", "value": 0.2, "low": low, "num_endpoints": 6}
    rows = pd.DataFrame([common | {"num_samples": number} for number in nums_samples])
    return cautions(rows.reindex(columns=list(SCHEMA)).astype(SCHEMA))


def test_intervals_of_pairs_say_what_they_cover_at_the_endpoints_that_were_looked_at():
    """Three of the six endpoints of the mode, or three and more in other modes."""
    low, high = (f"{share * 100:.0f}" for share in COVERAGE[3])
    start = "t: intervals of barriers and instabilities are a bootstrap over"
    (sentence,) = told(3, 3)
    assert sentence == f"{start} 3 endpoints, which covers about {low} to {high} % where it says 95."
    (sentence,) = told(3, 20)
    assert sentence.startswith(f"{start} 3 to 20 endpoints, which covers about {low} to ")
    assert told(3, low=None) == []


def test_splits_whose_interval_has_the_threshold_inside_are_named():
    intervals = {0: (0.0, 0.1), 25: (0.85, 0.97), 100: (0.91, 1.0)}
    common = {"task": "t", "trunk": 1, "quantity": "p_conv", "subset": "train", "num_samples": 100, "num_endpoints": 6}
    lines = [
        common | {"split_step": k, "value": high, "low": low, "high": high} for k, (low, high) in intervals.items()
    ]
    rows = pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    assert cautions(rows) == ["t: at k = 25, trunk 1 p_conv may be below 0.9 or above: both are in its interval."]
    onset = {"task": "t", "trunk": 1, "quantity": "onset_p_conv", "subset": "train", "settings": '{"threshold": 0.99}'}
    rows = pd.DataFrame([*lines, onset]).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    assert cautions(rows) == ["t: at k = 100, trunk 1 p_conv may be below 0.99 or above: both are in its interval."]


def test_coverage_grows_with_the_endpoints_and_that_of_more_is_said_by_the_most():
    lows = [low for low, _ in COVERAGE.values()]
    assert list(COVERAGE) == list(range(3, 21)) and lows[0] < lows[1] < lows[2] < min(lows[8:])
    assert coverage_text([50]) == coverage_text([20]) != coverage_text([3])


@pytest.mark.parametrize("num_endpoints", [3, 10])
@pytest.mark.parametrize("quantity", [squared_distances, above_the_mean])
def test_the_table_is_what_the_bootstrap_covers(quantity, num_endpoints):
    """In 100 trials of 1,000 of the table: within three standard deviations."""
    low, high = COVERAGE[num_endpoints]
    found = coverage(quantity, num_endpoints, num_trials=100)
    noise = 3 * (0.25 / 100) ** 0.5
    assert low - noise < found < high + noise


def test_an_alignment_that_ends_worse_than_none_is_said_with_its_splits():
    rows = alignment_rows()
    assert not [each for each in cautions(rows) if "aligned" in each]  # all of them end better
    is_activations = rows["quantity"].eq("barrier_loss_union_activations")
    rows.loc[is_activations & rows["split_step"].eq(25), "value"] = 3.6  # 3.5 where nothing is aligned
    assert [each for each in cautions(rows) if "aligned" in each] == [
        "mnist1d: neurons aligned by activations of centres ended worse than not aligned at k = 25: barriers between trunks "
        "are larger."
    ]
    rows.loc[is_activations, "value"] = 7.5
    (sentence,) = [each for each in cautions(rows) if "aligned" in each]
    assert "at k = 0, 25:" in sentence


def test_losses_over_some_of_the_examples_are_said_of_the_analyses_that_have_them():
    lines = [
        {"task": "t", "analysis": name, "quantity": "x", "value": 1.0, "settings": json.dumps(settings)}
        for name, settings in {
            "convex_mode": {"evaluation": {"num_examples": 60}, "chosen": {"examples": "60 train, 60 test"}},
            "trunk_hessian": {"evaluation": {"num_examples": 60}, "chosen": {"evaluation": "stacked"}},
            "of_ones_own": {"how_evaluated": {"num_examples": 60}, "chosen": {"examples": "60 train, 60 test"}},
            "pairs": {"evaluation": {"num_examples": None}, "chosen": {"examples": "200 train, 90 test"}},
        }.items()
    ]
    rows = pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)
    assert cautions(rows) == [
        "t: losses of convex_mode are means over 60 train, 60 test examples, drawn at random once."
    ]
