from dataclasses import replace

import pytest
import torch

from lmc_lab.errors import UserError
from lmc_lab.files import read_json
from lmc_lab.runs import callbacks, checkpoint
from lmc_lab.runs.curve import read_rows
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.status import is_marked_finished
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.runs.variation import BranchLength, Variation
from tiny import tiny_experiment, train_branch


def endpoint(folder):
    return checkpoint.load(folder.endpoint).state


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("split_step", [0, 13])
def test_a_branch_in_the_trunks_own_order_is_the_trunk(tmp_path, split_step):
    """With momentum, dropout and BatchNorm: optimizer state, noise and buffers all cross the split."""
    experiment = tiny_experiment(tmp_path)
    folder = train_branch(experiment, split_step, "trunk")
    ensure_trunk(experiment, {40})
    trunk = checkpoint.module_state(checkpoint.load(experiment.trunk_folder.step(40)).state)
    assert same(endpoint(folder)["model"], trunk)
    curve = [row for row in read_rows(experiment.trunk_folder.metrics) if int(row["step"]) > split_step]
    assert read_rows(folder.metrics) == curve


def test_optimizer_state_matters_and_is_another_address(tmp_path):
    carried = tiny_experiment(tmp_path)
    fresh = tiny_experiment(tmp_path, variation=Variation(carry_optimizer_state=False))
    one, two = train_branch(carried, 13, 0), train_branch(fresh, 13, 0)
    assert one.path.parent.name == "split-13" and two.path.parent.name == "split-13-fresh_optimizer"
    assert not same(endpoint(one)["model"], endpoint(two)["model"])


def test_after_split_trains_t_steps_more(tmp_path):
    experiment = tiny_experiment(tmp_path, variation=Variation(length=BranchLength.AFTER_SPLIT))
    folder = train_branch(experiment, 13, 0)
    assert endpoint(folder)["step"] == 53 and folder.path.parent.name == "split-13-after_split"


class Killed(BaseException):
    pass


def killing_heartbeat(step):
    class Heartbeat(callbacks.Heartbeat):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == step:
                raise Killed

    return Heartbeat


@pytest.mark.parametrize("carry_optimizer_state", [True, False])
def test_a_branch_that_was_stopped_goes_on_to_the_same_endpoint(tmp_path, monkeypatch, carry_optimizer_state):
    settings = RunSettings(log_every=5, resume_seconds=0.0)
    keywords = {"settings": settings, "variation": Variation(carry_optimizer_state=carry_optimizer_state)}
    whole = train_branch(tiny_experiment(tmp_path / "whole", **keywords), 13, 4)
    experiment = tiny_experiment(tmp_path / "stopped", **keywords)
    with monkeypatch.context() as patch:
        patch.setattr("lmc_lab.runs.fit.Heartbeat", killing_heartbeat(29))
        ensure_trunk(experiment, {13})
        with pytest.raises(Killed):
            train_branch(experiment, 13, 4)
    folder = experiment.split_folder(13).branch(4)
    assert read_json(folder.status)["state"] == "failed" and not folder.endpoint.exists() and folder.resume.exists()
    train_branch(experiment, 13, 4)
    assert checkpoint.load(folder.endpoint).digest == checkpoint.load(whole.endpoint).digest
    assert read_rows(folder.metrics) == read_rows(whole.metrics)
    assert is_marked_finished(folder) and not folder.resume.exists()


def test_a_finished_branch_is_not_trained_again(tmp_path):
    experiment = tiny_experiment(tmp_path)
    folder = train_branch(experiment, 13, 0)
    modified = folder.endpoint.stat().st_mtime_ns
    train_branch(experiment, 13, 0)
    assert folder.endpoint.stat().st_mtime_ns == modified


def test_states_on_the_way_are_kept_and_can_be_asked_for_later(tmp_path):
    """A finished branch is trained again as far as they go, from the nearest state, and stays what it was."""
    at_once = tiny_experiment(tmp_path / "at_once", settings=RunSettings(log_every=5, save_steps=[5, 20, 30]))
    later = tiny_experiment(tmp_path / "later")
    train_branch(later, 13, 0)
    whole = later.split_folder(13).branch(0)
    before = [whole.endpoint.stat().st_mtime_ns, read_rows(whole.metrics)]
    train_branch(replace(later, settings=RunSettings(log_every=5, save_steps=[20])), 13, 0)
    train_branch(replace(later, settings=RunSettings(log_every=5, save_steps=[5, 20, 30])), 13, 0)
    assert [whole.endpoint.stat().st_mtime_ns, read_rows(whole.metrics)] == before
    expected = train_branch(at_once, 13, 0)
    assert expected.saved_steps() == whole.saved_steps() == {20, 30}
    for step in (20, 30):
        left, right = checkpoint.load(expected.step(step)).state, checkpoint.load(whole.step(step)).state
        assert same(checkpoint.module_state(left), checkpoint.module_state(right))
    assert is_marked_finished(whole) and not whole.resume.exists()


def test_branches_differ_share_no_storage_and_stack_into_a_mode(tmp_path):
    experiment = tiny_experiment(tmp_path)
    for seed in range(3):
        train_branch(experiment, 13, seed)
    train_branch(experiment, 13, "trunk")
    mode = load_mode(experiment, 13)
    assert mode.branches == (0, 1, 2) and mode.endpoints.shape == (3, mode.layout.dimension)
    assert len({tuple(theta.tolist()) for theta in mode.endpoints}) == 3
    assert mode.buffers["model.1.running_mean"].shape == (3, 16)
    kept = mode.endpoints[1:].clone()
    mode.endpoints[0] += 1
    assert torch.equal(mode.endpoints[1:], kept)
    weights = mode.layout.unflatten(mode.endpoints[1])
    expected = endpoint(experiment.split_folder(13).branch(1))["model"]
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    assert load_mode(experiment, 13, seeds=[0, 2]).branches == (0, 2)


def test_a_mode_with_unfinished_branches_is_refused_unless_allowed(tmp_path):
    experiment = tiny_experiment(tmp_path)
    for seed in range(3):
        folder = train_branch(experiment, 13, seed)
    folder.endpoint.unlink()
    with pytest.raises(
        UserError, match="found unfinished ones with seed=2; set allow_missing=true to leave them out, or train them: "
    ):
        load_mode(experiment, 13)
    assert load_mode(experiment, 13, allow_missing=True).branches == (0, 1)


@pytest.mark.parametrize("num_branches", [0, 1])
def test_a_mode_of_fewer_than_two_endpoints_is_refused(tmp_path, num_branches):
    experiment = tiny_experiment(tmp_path)
    for seed in range(num_branches):
        train_branch(experiment, 13, seed)
    with pytest.raises(UserError, match=f"expected at least 2 finished branches.* found {num_branches}"):
        load_mode(experiment, 13)


def test_endpoints_of_other_data_are_refused(tmp_path):
    experiment = tiny_experiment(tmp_path)
    for seed in range(2):
        train_branch(experiment, 13, seed)
    with pytest.raises(UserError, match="expected all endpoints and the present data to agree"):
        load_mode(tiny_experiment(tmp_path, digest="other"), 13)
    with pytest.raises(UserError, match="expected .* to be trained on the present data"):
        train_branch(tiny_experiment(tmp_path, digest="other"), 13, 2)
