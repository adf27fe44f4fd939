"""The onset, from rows as other analyses write them."""

from dataclasses import replace
from math import inf, nan

import pandas as pd
import pytest

from entries import entry
from lmc_lab.analyses.onset import Onset
from lmc_lab.analyses.store import ensure_rows
from lmc_lab.errors import UserError
from lmc_lab.results.folder import Result, read_result
from lmc_lab.results.part import Part
from lmc_lab.results.row_file import SCHEMA, write_rows
from lmc_lab.runs.subject import Request
from lmc_lab.runs.trunk_results import TrunkResults
from tiny import tiny_experiment

STEPS = (0, 50, 800)
_COUNTS = ("_splits", "_reversals")


def frame(lines):
    return pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)


def results_of(quantities, steps=STEPS):
    """Returns one result with rows of some quantities at each split."""
    lines = [
        {"quantity": quantity, "subset": "train", "split_step": step, "value": value}
        for quantity, values in quantities.items()
        for step, value in zip(STEPS, values, strict=True)
        if value is not None
    ]
    return TrunkResults(0, tuple(steps), (Result(frame(lines), entry()),))


def onsets(quantities, steps=STEPS, **settings):
    found = Onset(**settings).measure(results_of(quantities, steps), None)
    return {each.quantity: (each.low, each.high, each.value) for each in found if not each.quantity.endswith(_COUNTS)}


def test_the_threshold_decides():
    values = {"p_conv": (0.0, 0.5, 1.0)}
    assert onsets(values) == {"onset_p_conv": (50, 800, 800)}
    assert onsets(values, threshold=0.5) == {"onset_p_conv": (0, 50, 50)}
    assert onsets(values, threshold=0.0) == {"onset_p_conv": (None, 0, 0)}


def test_one_that_fails_at_the_end_lies_beyond_it():
    assert onsets({"p_conv": (1.0, 1.0, 0.8)}) == {"onset_p_conv": (800, None, inf)}


def test_what_fails_after_it_held_is_counted():
    for values, count in (((0.0, 0.5, 1.0), 0), ((1.0, 0.5, 1.0), 1), ((1.0, 0.5, 0.2), 2), ((0.2, 0.5, 0.2), 0)):
        found = Onset().measure(results_of({"p_conv": values}), None)
        assert [each.value for each in found if each.quantity == "onset_p_conv_reversals"] == [count]


def test_instability_and_the_centre_have_their_own_criteria():
    values = {
        "instability_error": (0.5, 0.019, 0.0),
        "centre_loss": (0.5, 0.5, 0.1),
        "endpoint_loss": (0.2, 0.5, 0.2),
    }
    assert onsets(values) == {"onset_instability": (0, 50, 50), "onset_centre_better": (50, 800, 800)}


@pytest.mark.parametrize("lost", [None, nan])
def test_a_split_without_a_number_counts_as_failed_and_is_named(lost):
    found = list(Onset().measure(results_of({"p_conv": (1.0, lost, 1.0)}), None))
    assert [(each.quantity, each.value, each.low, each.num_samples) for each in found] == [
        ("onset_p_conv", 800, 50, 3),
        ("onset_p_conv_splits", 3, None, None),
        ("onset_p_conv_reversals", 1, None, None),
        ("onset_p_conv_unmeasured", 50, None, None),
    ]


def test_an_infinite_loss_was_measured_and_fails():
    values = {"centre_loss": (inf, 0.5, 0.1), "endpoint_loss": (0.2, 0.7, 0.2)}
    found = list(Onset().measure(results_of(values), None))
    assert onsets(values) == {"onset_centre_better": (0, 50, 50)}
    assert not any(each.quantity.endswith("unmeasured") for each in found)


@pytest.fixture
def experiment(tmp_path):
    return tiny_experiment(tmp_path)


def measured(experiment, name, step, value, *, branches=(0, 1, 2), created=1, **changes):
    """Writes a result as if `name` had found `p_conv` on the mode of a split."""
    folder = experiment.paths.results
    line = {"quantity": "p_conv", "subset": "train", "trunk": 0, "split_step": step, "value": value}
    content = {"analysis": name, "subject": (Part(0, step, branches),), "created": created} | changes
    path = experiment.paths.result(name, str(len(list(folder.glob("*")))))
    write_rows(frame([line]), entry(**content), path)
    return path


def load(experiment, **request):
    return TrunkResults.load(experiment, Onset().request(Request(**request)))


def test_the_subject_is_the_most_complete_result_of_each_split_of_the_trunk(experiment):
    measured(experiment, "convex_mode", 0, 0.1)
    measured(experiment, "convex_mode", 50, 0.2, branches=(0, 1), created=5)
    measured(experiment, "convex_mode", 50, 0.3)
    measured(experiment, "convex_mode", 800, 0.4, subject=(Part(1, 800, (0, 1)),))  # another trunk
    measured(experiment, "convex_mode", 800, 0.5, fingerprint="other")
    measured(experiment, "convex_mode", 800, 0.6, settings={"variant": "-fresh_optimizer"})
    measured(experiment, "distances", 800, 0.7)
    subject = load(experiment)
    assert subject.rows["value"].tolist() == [0.1, 0.3] and subject.split_steps == (0, 50)
    assert subject.parts == (Part(0, 0, (0, 1, 2)), Part(0, 50, (0, 1, 2)))
    assert load(experiment, split_steps=(50, 800)).parts == (Part(0, 50, (0, 1, 2)), Part(0, 800))
    assert load(experiment, seeds=(0, 1)).rows["value"].tolist() == [0.2]


def test_results_of_several_settings_are_not_mixed(experiment):
    measured(experiment, "convex_mode", 0, 0.1, settings={"num_samples": 7})
    measured(experiment, "convex_mode", 50, 0.2, settings={"num_samples": 8})
    with pytest.raises(UserError, match="with the same settings at all splits"):
        load(experiment)
    own = Onset(results={"convex_mode": {"num_samples": 8}})
    subject = TrunkResults.load(experiment, own.request(Request()))
    assert subject.rows["value"].tolist() == [0.2]


def test_an_older_version_of_an_analysis_is_not_mixed_with_a_newer(experiment):
    measured(experiment, "convex_mode", 0, 0.1)
    measured(experiment, "convex_mode", 50, 0.2, version=2)
    assert load(experiment).rows["value"].tolist() == [0.2]


def test_without_results_one_is_told_what_to_run(experiment):
    with pytest.raises(UserError, match="expected results of convex_mode or pairs on splits of trunk 0"):
        load(experiment)


def test_it_is_measured_once_and_again_where_a_result_has_changed(experiment):
    measured(experiment, "convex_mode", 0, 0.1)
    first = ensure_rows(experiment, load(experiment), Onset())
    assert ensure_rows(experiment, load(experiment), Onset()) == first
    rows = read_result(first).rows
    assert rows[["trunk", "quantity", "value", "low"]].values.tolist()[0] == [0, "onset_p_conv", inf, 0.0]
    assert rows["split_step"].isna().all()
    measured(experiment, "convex_mode", 0, 0.95, created=2)
    second = ensure_rows(experiment, load(experiment), Onset())
    assert second != first and read_result(second).rows["value"].tolist() == [0.0, 1.0, 0.0]
    assert ensure_rows(experiment, replace(load(experiment), split_steps=(0, 50)), Onset()) not in (first, second)
