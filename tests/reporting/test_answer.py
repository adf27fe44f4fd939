"""The answer in words."""

import pandas as pd

from lmc_lab.reporting.answer import answers
from lmc_lab.results.row_file import SCHEMA


def rows(onset, p_conv, *, reversals=0, unmeasured=()):
    where = {"task": "mine", "trunk": 0, "subset": "train"}
    low, high = onset
    lines = [
        where
        | {"quantity": "onset_p_conv", "analysis": "onset", "value": high or float("inf"), "low": low, "high": high}
    ]
    lines += [where | {"quantity": "onset_p_conv_reversals", "analysis": "onset", "value": reversals}]
    lines += [where | {"quantity": "onset_p_conv_unmeasured", "value": step} for step in unmeasured]
    lines += [
        where | {"quantity": "p_conv", "split_step": step, "value": value, "num_samples": 100, "num_endpoints": 6}
        for step, value in p_conv.items()
    ]
    return pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)


def answer(*arguments, **keywords):
    return answers(rows(*arguments, **keywords), {"mine": 1500})["mine"]


def test_an_onset_is_a_bracket():
    said = answer((100, 250), {0: 0.1, 100: 0.6, 250: 1.0})
    assert said.startswith(
        "Hulls are convex (p_conv at least 0.9) from some split between steps 100 and 250 of 1,500 on, in trunk 0."
    )
    assert "There p_conv is 1.00 in trunk 0 (k = 250)" in said and "J = 100" in said and "convex are" not in said


def test_where_it_is_not_monotone_each_split_that_holds_is_named():
    said = answer((1000, None), {0: 0.1, 250: 0.95, 1000: 0.8}, reversals=1)
    assert (
        "not convex (p_conv at least 0.9) at the last split that was looked at, k = 1,000 of 1,500 steps (not monotone"
        in said
    )
    assert "; convex are the hulls of k = 250, in trunk 0." in said


def test_a_split_without_p_conv_is_none_that_failed():
    said = answer((1000, None), {0: 0.1, 250: 0.95}, reversals=1, unmeasured=[1000])
    assert said == (
        "From where on hulls are convex (p_conv at least 0.9) is not known, since p_conv is missing at k = 1,000; convex are "
        "the hulls of k = 250, in trunk 0."
    )


def test_where_none_holds_it_says_so():
    assert "; no hull is convex, in trunk 0." in answer((1000, None), {0: 0.1, 1000: 0.8})


def test_an_onset_at_the_first_split_has_no_lower_end():
    assert "from the first split on that was looked at, k = 0 of 1,500 steps" in answer((None, 0), {0: 1.0, 1000: 1.0})
