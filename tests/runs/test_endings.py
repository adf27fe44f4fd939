"""A run is finished when it did what it says."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    ModelCheckpoint,
    StochasticWeightAveraging,
)

from lmc_lab.errors import UserError
from lmc_lab.files import read_json, write_json
from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve import read_rows
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.paths import address_of
from lmc_lab.runs.run import Run
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.status import Diverged, Stopped
from lmc_lab.runs.trunk import ensure_split, ensure_trunk
from tiny import build_model, tiny_experiment, train_branch, with_callbacks


class StopAt(Callback):
    """What a limit of time does, at a step of its own."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.should_stop = trainer.global_step == self.step


class Freezer(Callback):
    """Keeps the first layer where it was."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        with torch.no_grad():
            pl_module.task.model[0].weight.zero_()


class Overflows(Callback):
    """Makes weights infinite at a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            with torch.no_grad():
                pl_module.task.model[0].weight.mul_(float("inf"))


def ema():
    return [EMAWeightAveraging(decay=0.8)]


def with_task(experiment, **changes):
    return replace(experiment, task=replace(experiment.task, **changes))


@pytest.mark.parametrize("callbacks", [list, ema])
def test_a_run_that_was_stopped_is_not_finished_and_goes_on_to_the_same_end(tmp_path, callbacks):
    whole = train_branch(tiny_experiment(tmp_path / "whole", make_callbacks=callbacks), 13, 0)
    experiment = tiny_experiment(tmp_path / "stopped", make_callbacks=callbacks)
    ensure_split(experiment, 13)
    stopped = with_callbacks(experiment, lambda: [*callbacks(), StopAt(29)])
    with pytest.raises(Stopped, match=r"expected tiny/trunk-0/k=13/branch-0 to train up to step 40, .* at step 29"):
        train_branch(stopped, 13, 0)
    folder = experiment.split_folder(13).branch(0)
    assert read_json(folder.status)["state"] == "stopped" and not folder.endpoint.exists()
    assert checkpoint.load(folder.resume).state["global_step"] == 29
    train_branch(experiment, 13, 0)
    assert checkpoint.load(folder.endpoint).digest == checkpoint.load(whole.endpoint).digest
    assert read_rows(folder.metrics) == read_rows(whole.metrics) and not folder.resume.exists()


def test_a_trunk_that_was_stopped_goes_on_too(tmp_path):
    experiment = tiny_experiment(tmp_path / "stopped")
    with pytest.raises(Stopped):
        ensure_trunk(with_callbacks(experiment, lambda: [StopAt(9)]), {20})
    assert experiment.trunk_folder.saved_steps() == {0}
    ensure_trunk(experiment, {20})
    whole = tiny_experiment(tmp_path / "whole")
    ensure_trunk(whole, {20})
    digests = [checkpoint.load(each.trunk_folder.step(20)).state["state_dict"] for each in (whole, experiment)]
    assert all(torch.equal(digests[0][name], digests[1][name]) for name in digests[0])


def test_a_limit_of_time_stops_a_run_which_then_goes_on(tmp_path):
    experiment = tiny_experiment(tmp_path, max_steps=100_000)
    limited = replace(experiment, make_trainer=partial(Trainer, accelerator="cpu", devices=1, max_time="00:00:00:01"))
    folder = experiment.split_folder(0).branch(0)
    reached = [0]
    for _ in range(2):  # the time is that of one command
        with pytest.raises(Stopped, match="after trainer.max_time give the same command again"):
            train_branch(limited, 0, 0)
        reached.append(checkpoint.load(folder.resume).state["global_step"])
    assert reached[0] < reached[1] < reached[2] and read_json(folder.status)["state"] == "stopped"


@pytest.mark.parametrize("seconds", [0.0, 1000.0])
def test_an_average_is_also_the_endpoint_of_a_run_that_was_killed_before_it_was_saved(tmp_path, monkeypatch, seconds):
    settings = RunSettings(log_every=5, resume_seconds=seconds)
    keywords = {"settings": settings, "make_callbacks": ema}
    whole = train_branch(tiny_experiment(tmp_path / "whole", **keywords), 13, 0)
    experiment = tiny_experiment(tmp_path / "killed", **keywords)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lmc_lab.runs.branch.complete", killed)
        train_branch(experiment, 13, 0)
    folder = train_branch(experiment, 13, 0)
    assert checkpoint.load(folder.endpoint).digest == checkpoint.load(whole.endpoint).digest


def test_nothing_that_slurm_or_lightning_left_is_gone_on_from(tmp_path, monkeypatch):
    """Lightning looks for a state that its own handler has saved, in the folder where the command was given."""
    expected = tiny_experiment(tmp_path / "expected", trunk_seed=5)
    ensure_split(expected, 9)
    other = tiny_experiment(tmp_path / "other")
    ensure_split(other, 7)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(other.trunk_folder.step(7).read_bytes())
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "job"}.items():
        monkeypatch.setenv(name, value)
    experiment = tiny_experiment(tmp_path / "own", trunk_seed=5)
    ensure_split(experiment, 9)
    states = [checkpoint.load(each.trunk_folder.step(9)).state["state_dict"] for each in (expected, experiment)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_an_average_of_weights_is_the_endpoint_and_not_the_state_that_branches_leave_from(tmp_path):
    experiment = tiny_experiment(tmp_path, make_callbacks=ema)
    branches = [train_branch(experiment, 13, seed) for seed in ("trunk", 0, 1)]
    ensure_trunk(experiment, {40})
    trunk = checkpoint.load(experiment.trunk_folder.step(40)).state
    endpoint = checkpoint.load(branches[0].endpoint).state["model"]
    assert all(torch.equal(endpoint[name], trunk["state_dict"][name]) for name in endpoint)
    assert not torch.equal(endpoint["model.0.weight"], trunk["current_model_state"]["model.0.weight"])
    plain = tiny_experiment(tmp_path / "plain")
    ensure_split(plain, 13)
    raw = checkpoint.module_state(checkpoint.load(plain.trunk_folder.step(13)).state)
    mode = load_mode(experiment, 13, seeds=[0, 1])
    expected = mode.layout.flatten(raw)
    assert torch.equal(mode.training.at_split, expected)


def test_a_callback_of_the_task_changes_weights_before_they_are_saved(tmp_path):
    experiment = tiny_experiment(tmp_path, make_callbacks=lambda: [Freezer()])
    folder = train_branch(experiment, 13, 0)
    for state in (
        checkpoint.load(folder.endpoint).state["model"],
        checkpoint.module_state(checkpoint.load(experiment.trunk_folder.step(13)).state),
    ):
        assert not state["model.0.weight"].any() and state["model.0.bias"].any()


@pytest.mark.parametrize(
    ("callback", "instead"),
    [
        (StochasticWeightAveraging(swa_lrs=0.1), "EMAWeightAveraging"),
        (GradientAccumulationScheduler({0: 2}), "task.batch_size"),
        (ModelCheckpoint(), "run.save_steps"),
    ],
)
def test_a_callback_without_meaning_here_is_refused(tmp_path, callback, instead):
    experiment = tiny_experiment(tmp_path, make_callbacks=lambda: [callback])
    with pytest.raises(UserError, match=f"expected task.callbacks that work step by step.*{instead}"):
        ensure_split(experiment, 3)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_as_the_task_says(tmp_path, algorithm):
    """Against plain torch: one step of SGD without momentum from W_0."""
    experiment = tiny_experiment(tmp_path)
    experiment = with_task(
        experiment,
        gradient_clip_val=0.01,
        gradient_clip_algorithm=algorithm,
        build_model=lambda: torch.nn.Linear(2, 3),
    )
    ensure_split(experiment, 1)
    module = experiment.task.initialise(0)
    batch = Run(experiment).batches(0).order.indices(0)
    examples = experiment.task.dataset.train
    module.training_loss((examples.inputs[batch], examples.targets[batch])).backward()
    gradient = module.model.weight.grad
    if algorithm == "norm":
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.01)
    else:
        torch.nn.utils.clip_grad_value_(module.parameters(), 0.01)
    expected = module.model.weight.detach() - 0.05 * gradient
    found = checkpoint.module_state(checkpoint.load(experiment.trunk_folder.step(1)).state)["model.weight"]
    assert torch.allclose(found, expected, atol=1e-7)


def exploding(num_steps):
    """Returns a model whose outputs are infinite from some call in training on."""

    class Exploding(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = build_model()
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

        def forward(self, x):
            self.calls += self.training
            return self.net(x) * (float("inf") if self.calls > num_steps else 1.0)

    return Exploding


def test_a_run_that_diverges_says_where_and_is_not_trained_again(tmp_path):
    experiment = with_task(tiny_experiment(tmp_path), build_model=exploding(20))
    for _ in range(2):
        with pytest.raises(
            Diverged, match=r"in tiny/trunk-0/k=13/branch-0, found NaN or infinity at step 21 \(the last"
        ):
            train_branch(experiment, 13, 0)
    folder = experiment.split_folder(13).branch(0)
    status = read_json(folder.status)
    assert status["state"] == "diverged" and status["step"] == 21 and 0 < status["last_finite_loss"] < 5
    assert not folder.endpoint.exists() and all("nan" not in row["train_loss"] for row in read_rows(folder.metrics))


def test_weights_that_overflow_are_seen_where_the_loss_is_not(tmp_path):
    """A weight that the loss does not depend on, and a buffer, in the last step."""

    class SpoilsBuffer(Callback):
        def on_train_end(self, trainer, pl_module):
            pl_module.task.model[1].running_var.fill_(float("inf"))

    for callback, seed in ((Overflows(40), 0), (SpoilsBuffer(), 1)):
        experiment = tiny_experiment(tmp_path)
        ensure_split(experiment, 13)
        with pytest.raises(Diverged, match="at step 40"):
            train_branch(with_callbacks(experiment, lambda callback=callback: [callback]), 13, seed)
        assert not experiment.split_folder(13).branch(seed).endpoint.exists()


def test_a_trunk_that_diverges_still_has_its_earlier_splits(tmp_path):
    experiment = with_task(tiny_experiment(tmp_path), build_model=exploding(20))
    with pytest.raises(Diverged, match="tiny/trunk-0, found"):
        ensure_trunk(experiment, {10, 40}, splits={10})
    with pytest.raises(Diverged, match="at step 21"):
        ensure_split(experiment, 30)
    assert ensure_split(experiment, 10).step == 10


def test_a_run_that_diverged_is_tried_again_where_the_cause_may_be_gone(tmp_path):
    """Other data, as here, or other versions; for anything else the sentence names the file to remove."""
    experiment = tiny_experiment(tmp_path)
    ensure_split(experiment, 13)
    with pytest.raises(Diverged):
        train_branch(with_callbacks(experiment, lambda: [Overflows(24)]), 13, 1)
    folder = experiment.split_folder(13).branch(1)
    with pytest.raises(Diverged, match=f"remove {folder.status} to try it again"):
        train_branch(experiment, 13, 1)
    status = read_json(folder.status)
    other = status | {"circumstances": status["circumstances"] | {"data": "other"}}
    write_json(folder.status, other, address=address_of(folder.status))
    assert train_branch(experiment, 13, 1).endpoint.exists()


def test_a_mode_with_diverged_branches_is_refused_or_leaves_them_out(tmp_path):
    experiment = tiny_experiment(tmp_path)
    for seed in (0, 2):
        train_branch(experiment, 13, seed)
    with pytest.raises(Diverged):
        train_branch(with_callbacks(experiment, lambda: [Overflows(24)]), 13, 1)
    with pytest.raises(UserError, match="found diverged ones with seed=1; set allow_diverged=true"):
        load_mode(experiment, 13)
    mode = load_mode(experiment, 13, allow_diverged=True)
    assert mode.branches == (0, 2) and mode.part.diverged == ((1, 24),)
    assert load_mode(experiment, 13, seeds=[0, 2]).part.diverged == ()


def test_a_mode_of_diverged_branches_alone_does_not_advise_to_train_them_again(tmp_path):
    experiment = tiny_experiment(tmp_path)
    ensure_split(experiment, 13)
    for seed in (0, 1):
        with pytest.raises(Diverged):
            train_branch(with_callbacks(experiment, lambda: [Overflows(24)]), 13, seed)
    with pytest.raises(UserError, match="found 0 beside 2 that did; lower the learning rate"):
        load_mode(experiment, 13, allow_diverged=True)


def test_an_infinite_constant_is_refused_at_the_start_and_not_called_a_divergence(tmp_path):
    def masked(is_persistent):
        model = build_model()
        model.register_buffer("mask", torch.tensor([0.0, -torch.inf]), persistent=is_persistent)
        return model

    def own(is_persistent):
        base = tiny_experiment(tmp_path / str(is_persistent), max_steps=3)
        return replace(base, task=replace(base.task, build_model=partial(masked, is_persistent)))

    with pytest.raises(UserError, match=r"expected finite weights and buffers at W_0, found .* in model\.mask; give"):
        ensure_trunk(own(True), {3})
    ensure_trunk(own(False), {3})
