"""Where detectors turn, and whether that goes with the onset."""

from itertools import product
from math import inf, isnan

import numpy as np
import pandas as pd
import pytest

from lmc_lab.landscape.turning_point import turning_point
from lmc_lab.results.row_file import SCHEMA
from lmc_lab.tuning.detection import INVERSE_RATE, LOSS_HALVED, SHARES, judge, turning_points

STEPS = [0, 10, 100, 1000]


def rows_of(values, **others):
    lines = [
        {"trunk": trunk, "step": step, "value": (1 + trunk) * value, **others}
        for trunk in (0, 1)
        for step, value in zip(STEPS, values, strict=True)
    ]
    return pd.DataFrame(lines).reindex(columns=list(SCHEMA)).astype(SCHEMA)


def test_turning_points_are_of_trunks_alone_and_of_every_detector_that_was_measured():
    loss, nc1 = [4.0, 3.0, 1.0, 0.5], [9.0, 8.0, 2.0, 1.0]
    of_branches = rows_of([1.0, 5.0, 5.0, 5.0], quantity="nc1", subset="train", split_step=10, branch=0)
    of_tests = rows_of([1.0, 5.0, 5.0, 5.0], quantity="nc1", subset="test")
    rows = pd.concat(
        [rows_of(loss, quantity="train_loss"), rows_of(nc1, quantity="nc1", subset="train"), of_branches, of_tests]
    )
    found = turning_points(rows, rate=0.02).set_index(["trunk", "detector", "share"])["step"].sort_index()
    assert len(found) == 2 * (2 * len(SHARES) + 2)
    for share in SHARES:
        assert found[1, "NC1", share] == pytest.approx(turning_point(STEPS, nc1, share))
    assert found[0, INVERSE_RATE].item() == 50
    assert 10 < found[0, LOSS_HALVED].item() < 100
    assert INVERSE_RATE not in set(turning_points(rows)["detector"])


def settings(number, step_of, seed=0):
    """Returns points of settings whose onset is known: `step_of(onset, share, noise)` is where each detector turns."""
    generator = np.random.default_rng(seed)
    onsets = generator.uniform(10, 1000, size=(number, 2))
    onsets[0, 0] = inf
    lines = []
    for (setting, trunk), (name, step) in product(np.ndindex(number, 2), step_of.items()):
        onset = onsets[setting, trunk]
        noise = generator.uniform(10, 1000)
        for share in SHARES if name != LOSS_HALVED else (np.nan,):
            own = {"setting": f"s{setting}", "trunk": trunk, "detector": name, "share": share, "onset": onset}
            lines.append(own | {"step": step(min(onset, 1e6), share, noise)})
    return pd.DataFrame(lines)


def test_the_share_is_chosen_on_one_half_and_judged_on_the_other():
    points = settings(
        24,
        {
            "informed": lambda onset, share, noise: onset if share == 0.25 else noise,
            "reversed": lambda onset, share, noise: -onset if share == 0.25 else noise,
            "noise": lambda onset, share, noise: noise,
            LOSS_HALVED: lambda onset, share, noise: onset**0.5,
        },
    )
    judged = judge(points)
    assert (judged.share, judged.num_chosen_on, judged.num_judged_on) == (0.25, 12, 12)
    assert [judged.found[name].value for name in ("informed", "reversed", LOSS_HALVED)] == pytest.approx([1, -1, 1])
    assert judged.found["noise"].low < 0 < judged.found["noise"].high
    assert {each.num_pairs for each in judged.found.values()} == {24}
    assert "25%" in judged.rule and judged.table["detector"].tolist() == list(judged.found)


def test_a_rule_that_was_chosen_for_noise_does_not_shine_where_it_is_judged():
    """Of five shares the best on the first half looks like something; on the other half it is nothing, most of the time."""
    covered = []
    for seed in range(20):
        points = settings(24, {"noise": lambda onset, share, noise: noise * (1 + share)}, seed=seed)
        found = judge(points, seed=seed).found["noise"]
        covered.append(found.low < 0 < found.high)
    assert sum(covered) >= 16


def test_a_setting_without_a_turning_point_is_left_out_and_too_few_say_nothing():
    points = settings(12, {"informed": lambda onset, share, noise: onset})
    judged_on = judge(points).found["informed"].num_pairs
    points.loc[points["setting"].isin([f"s{number}" for number in range(0, 12, 2)]), "step"] = np.nan
    assert judge(points).found["informed"].num_pairs < judged_on == 12
    assert isnan(judge(settings(6, {"informed": lambda onset, share, noise: onset})).found["informed"].value)


def test_a_study_that_measures_no_detector_has_none_to_judge():
    nothing = turning_points(rows_of([1.0, 2.0, 3.0, 4.0], quantity="unknown"), rate=0.1)
    assert judge(nothing.assign(setting="s0", onset=7.0)).found == {}
