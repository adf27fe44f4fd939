"""A program that is killed when some of its members have finished, and what is measured of its branches afterwards."""

from dataclasses import replace

import pytest

from alike import Killed, assert_alike, experiment, runs_of, stop_at
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.files import read_json
from lmc_lab.runs import checkpoint
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.run import Run
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.side_by_side import train_branches_side_by_side
from lmc_lab.runs.variation import BranchLength, Variation
from tiny import train_branch

SPLITS, SEEDS = (13, 20), (0, 1, 2)


def own_experiment(path, **settings):
    """Branches end 40 steps after their split: those of the first at 53, the others at 60."""
    changed = {"variation": Variation(length=BranchLength.AFTER_SPLIT)}
    return replace(experiment(path), settings=RunSettings(log_every=5, resume_seconds=0.0, **settings), **changed)


def p_conv(own, step):
    measured = ConvexMode(num_samples=50).measure(load_mode(own, step), own.task)
    return next(item for item in measured if getattr(item, "quantity", "") == "p_conv")


def test_finished_members_stay_and_the_others_go_on(tmp_path, monkeypatch):
    own, other = own_experiment(tmp_path / "killed", together=6), own_experiment(tmp_path / "alone")
    runs = runs_of(own, splits=SPLITS, seeds=SEEDS)
    with monkeypatch.context() as patch:
        stop_at(patch, 56, Killed())
        with pytest.raises(Killed):
            train_branches_side_by_side(runs)
    (state,) = own.paths.programs()
    done, left = runs[:3], runs[3:]
    assert [run.folder.endpoint.exists() for run in runs] == [True] * 3 + [False] * 3
    assert {read_json(run.folder.status)["state"] for run in done} == {"finished"}
    assert len(checkpoint.peek(state, "members")) == 3  # who still stood in it
    written = [run.folder.endpoint.stat().st_mtime_ns for run in done]
    train_branches_side_by_side(runs)
    assert [run.folder.endpoint.stat().st_mtime_ns for run in done] == written
    assert min(read_json(run.folder.status)["start"] for run in left) > 53  # they did not begin again
    assert not own.paths.programs()
    runs_of(other, splits=SPLITS, seeds=())
    for run in runs:
        assert_alike(run, train_branch(other, run.split_step, run.seed))
    for step in SPLITS:
        found, expected = p_conv(own, step), p_conv(other, step)
        assert found.num_samples == 50 and expected.low <= found.value <= expected.high


def test_a_member_that_finished_is_not_taken_up_out_of_an_earlier_state(tmp_path, monkeypatch):
    """The state of step 29 names all members; killed at 56 it has been replaced, and put back here."""
    own = own_experiment(tmp_path, together=6)
    runs = runs_of(own, splits=SPLITS, seeds=SEEDS)
    for step in (29, 56):
        with monkeypatch.context() as patch:
            stop_at(patch, step, Killed())
            with pytest.raises(Killed):
                train_branches_side_by_side(runs)
        if step == 29:
            (early,) = own.paths.programs()
            kept = early.read_bytes()
    early.write_bytes(kept)
    written = [run.folder.endpoint.stat().st_mtime_ns for run in runs[:3]]
    train_branches_side_by_side(runs)
    assert [run.folder.endpoint.stat().st_mtime_ns for run in runs[:3]] == written
    assert all(Run(own, run.split_step, run.seed).folder.endpoint.exists() for run in runs)
    assert not own.paths.programs() and not any(run.folder.resume.exists() for run in runs)
