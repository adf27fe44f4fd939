from pathlib import Path

import pytest
import torch
from filelock import FileLock

from lmc_lab.files import read_json
from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve import read_rows
from lmc_lab.runs.run import Run
from lmc_lab.runs.stretch import Stretch, stretches
from lmc_lab.runs.trunk import ensure_split, ensure_trunk
from tiny import tiny_experiment


def state(step):
    return Stretch(step, step, Path(f"step-{step}"))


@pytest.mark.parametrize(
    ("saved", "wanted", "expected"),
    [
        ([], {0, 5, 9}, [(0, 9, None)]),
        ([0, 5], {0, 5}, []),
        ([0, 5, 20], {7, 9, 30}, [(5, 9, "step-5"), (20, 30, "step-20")]),
        ([0, 20], {7}, [(0, 7, "step-0")]),
        ([0], {0}, []),
    ],
)
def test_only_what_is_missing_is_trained_from_the_latest_state_before_it(saved, wanted, expected):
    found = stretches([state(step) for step in saved], wanted)
    assert [(s.start, s.stop, s.checkpoint and s.checkpoint.name) for s in found] == expected


def weights(experiment, step):
    return checkpoint.module_state(checkpoint.load(experiment.trunk_folder.step(step)).state)


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


def test_a_trunk_trained_piece_by_piece_equals_one_trained_at_once(tmp_path):
    whole, pieces = tiny_experiment(tmp_path / "whole"), tiny_experiment(tmp_path / "pieces")
    ensure_trunk(whole, {40})
    for steps in ({12}, {30}, {40}, {7}):
        ensure_trunk(pieces, steps)
    assert same(weights(whole, 40), weights(pieces, 40))
    assert pieces.trunk_folder.saved_steps() == {0, 7, 12, 30, 40}
    assert read_rows(whole.trunk_folder.metrics) == read_rows(pieces.trunk_folder.metrics)
    assert read_json(pieces.trunk_folder.status)["trained_to"] == 40


def test_a_state_saved_later_equals_one_saved_in_passing(tmp_path):
    early, late = tiny_experiment(tmp_path / "early"), tiny_experiment(tmp_path / "late")
    ensure_trunk(early, {12, 40})
    ensure_trunk(late, {40})
    ensure_trunk(late, {12})
    assert same(weights(early, 12), weights(late, 12))


def test_split_trains_to_exactly_k_and_no_further(tmp_path):
    experiment = tiny_experiment(tmp_path)
    ensure_split(experiment, 9)
    assert experiment.trunk_folder.saved_steps() == {0, 9}
    assert checkpoint.load(experiment.trunk_folder.step(9)).state["global_step"] == 9


def test_split_at_step_zero_is_the_initialisation(tmp_path):
    experiment = tiny_experiment(tmp_path)
    ensure_split(experiment, 0)
    initial = experiment.task.initialise(0).state_dict()
    assert same(dict(initial), weights(experiment, 0))


def test_what_exists_is_not_trained_again(tmp_path):
    experiment = tiny_experiment(tmp_path)
    ensure_trunk(experiment, {10})
    modified = experiment.trunk_folder.step(10).stat().st_mtime_ns
    ensure_trunk(experiment, {10})
    assert experiment.trunk_folder.step(10).stat().st_mtime_ns == modified


def test_trunk_seeds_give_other_weights_and_other_orders(tmp_path):
    one, two = tiny_experiment(tmp_path), tiny_experiment(tmp_path, trunk_seed=1)
    for experiment in (one, two):
        ensure_trunk(experiment, {3})
    assert not torch.equal(weights(one, 0)["model.0.weight"], weights(two, 0)["model.0.weight"])
    assert not torch.equal(Run(one).batches(0).order.indices(0), Run(two).batches(0).order.indices(0))


class Killed(BaseException):
    pass


def test_a_killed_trunk_keeps_its_progress_when_an_earlier_split_is_asked_for(tmp_path, monkeypatch):
    from lmc_lab.runs import callbacks
    from lmc_lab.runs.settings import RunSettings

    class KillingHeartbeat(callbacks.Heartbeat):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 30:
                raise Killed

    experiment = tiny_experiment(tmp_path / "killed", settings=RunSettings(log_every=5, resume_seconds=0.0))
    with monkeypatch.context() as patch:
        patch.setattr("lmc_lab.runs.fit.Heartbeat", KillingHeartbeat)
        with pytest.raises(Killed):
            ensure_trunk(experiment, {40})
    ensure_split(experiment, 7)
    assert checkpoint.load(experiment.trunk_folder.resume).state["global_step"] == 30
    ensure_trunk(experiment, {11, 40})
    assert experiment.trunk_folder.saved_steps() == {0, 7, 11, 40} and not experiment.trunk_folder.resume.exists()
    whole = tiny_experiment(tmp_path / "whole")
    ensure_trunk(whole, {7, 11, 40})
    assert all(same(weights(whole, step), weights(experiment, step)) for step in (7, 11, 40))
    assert read_rows(whole.trunk_folder.metrics) == read_rows(experiment.trunk_folder.metrics)


def test_a_published_split_does_not_wait_for_the_trunk(tmp_path):
    experiment = tiny_experiment(tmp_path)
    ensure_split(experiment, 9)
    with FileLock(experiment.trunk_folder.lock):
        assert ensure_split(experiment, 9).step == 9


def test_a_state_keeps_that_of_callbacks_under_the_names_of_the_format(tmp_path):
    """Whatever their classes are called: who reads the state of an earlier version looks there."""
    experiment = tiny_experiment(tmp_path)
    ensure_split(experiment, 10)
    state = checkpoint.load(experiment.trunk_folder.step(10)).state
    assert state["callbacks"].keys() == {"CallbackGroup"}
    assert state["callbacks"]["CallbackGroup"]["Trajectory"]["num_rows"] == checkpoint.num_rows(state) == 2
