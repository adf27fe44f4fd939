"""Branches trained as one program are the same branches."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from alike import WITHIN, Killed, assert_alike, experiment, quiet_model, runs_of, stop_at, weights
from lmc_lab.data.examples import Dataset
from lmc_lab.files import read_json
from lmc_lab.runs import checkpoint
from lmc_lab.runs.companions import why_alone
from lmc_lab.runs.curve import read_rows
from lmc_lab.runs.run import Run
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.side_by_side import train_branches_side_by_side
from lmc_lab.runs.together import train_together, train_trunks_together
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.runs.variation import BranchLength, Variation
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.task import ClipAlgorithm
from tiny import build_module, clouds, tiny_experiment, train_branch


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.norm = nn.LayerNorm(2)
        self.scale = nn.Parameter(torch.ones(()))
        self.attention = nn.MultiheadAttention(2, 1, batch_first=True)
        self.last = nn.Linear(2, 3)

    def forward(self, x):
        x = self.norm(self.second(torch.tanh(self.first(x)))) * self.scale
        x = x + self.attention(x[:, None], x[:, None], x[:, None], need_weights=False)[0][:, 0]
        return self.last(x)


def adam(model):
    return Classification(model, partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1), num_classes=3)


@pytest.mark.parametrize(("model", "module"), [(quiet_model, build_module), (quiet_model, adam), (Tied, build_module)])
def test_together_is_alone(tmp_path, model, module):
    """Branches of two splits: the later ones join, and all leave at T."""
    together = experiment(tmp_path / "together", model=model, module=module)
    alone = experiment(tmp_path / "alone", model=model, module=module)
    runs = runs_of(together)
    assert why_alone(runs[0], allows_noise=False) is None
    train_together(runs)
    runs_of(alone)
    for run in runs:
        assert_alike(run, train_branch(alone, run.split_step, run.seed))
    status = read_json(runs[0].folder.status)
    assert status["state"] == "finished" and status["trained"]["together"] == len(runs)
    assert checkpoint.load(runs[0].folder.endpoint).state["trained"]["together"] == len(runs)
    assert not list(together.paths.root.glob("together-*"))


def test_branches_leave_at_their_own_ends(tmp_path):
    changed = {"variation": Variation(length=BranchLength.AFTER_SPLIT)}
    together, alone = (replace(experiment(tmp_path / name), **changed) for name in ("together", "alone"))
    runs = runs_of(together, seeds=(0, 1))
    train_together(runs)
    runs_of(alone)
    for run in runs:
        other = train_branch(alone, run.split_step, run.seed)
        assert checkpoint.load(other.endpoint).state["step"] == 40 + run.split_step
        assert_alike(run, other)


def test_optimizers_that_count_otherwise_are_trained_in_turn(tmp_path):
    """Adam begins to count at the split where its state is not carried, so branches of two splits are never in step."""
    changed = {"variation": Variation(carry_optimizer_state=False)}
    together, alone = (replace(experiment(tmp_path / name, module=adam), **changed) for name in ("together", "alone"))
    runs = runs_of(together, seeds=(0, 1))
    train_together(runs)
    runs_of(alone)
    for run in runs:
        assert_alike(run, train_branch(alone, run.split_step, run.seed))
        assert read_json(run.folder.status)["trained"]["together"] == 2  # those of its own split


def test_states_on_the_way_are_those_of_branches_alone(tmp_path):
    settings = RunSettings(log_every=5, save_steps=[17, 30])
    together, alone = (replace(experiment(tmp_path / name), settings=settings) for name in ("together", "alone"))
    runs = runs_of(together)
    train_together(runs)
    runs_of(alone)
    for run in runs:
        other = train_branch(alone, run.split_step, run.seed)
        assert run.folder.saved_steps() == other.saved_steps()
        for step in other.saved_steps():
            ours, theirs = (checkpoint.load(folder.step(step)).state for folder in (run.folder, other))
            assert ours.pop("trained")["together"] == (3 if step < 20 else 6)  # the others join at 20
            assert ours.keys() == theirs.keys() and ours["callbacks"].keys() == theirs["callbacks"].keys()
            for name, value in theirs["state_dict"].items():
                torch.testing.assert_close(ours["state_dict"][name], value, rtol=0, atol=WITHIN)
        assert_alike(run, other)


@pytest.mark.parametrize("how", ["together", "one of them alone", "fewer together"])
def test_a_killed_program_goes_on_where_it_was(tmp_path, monkeypatch, how):
    settings = RunSettings(log_every=5, resume_seconds=0.0)
    whole, killed = (replace(experiment(tmp_path / name), settings=settings) for name in ("whole", "killed"))
    train_together(runs_of(whole))
    runs = runs_of(killed)
    with monkeypatch.context() as patch:
        stop_at(patch, 29, Killed())
        with pytest.raises(Killed):
            train_together(runs)
    (state,) = killed.paths.programs()
    assert len(checkpoint.peek(state, "members")) == len(runs)
    assert read_json(runs[0].folder.status)["state"] == "failed"
    if how == "one of them alone":
        train_branch(killed, runs[2].split_step, runs[2].seed)
    if how == "fewer together":
        train_together(runs[3:])
    train_together(runs)
    for run in runs:
        expected = Run(whole, run.split_step, run.seed).folder
        if how == "together":
            assert all(torch.equal(value, weights(run.folder)[name]) for name, value in weights(expected).items())
        assert_alike(run, expected)
    assert not killed.paths.programs()


def test_a_branch_that_diverges_leaves_and_costs_only_itself(tmp_path):
    rare = float(clouds().inputs[:, 0].quantile(0.98))

    def weighted(model):
        class Exploding(Classification):
            def training_loss(self, batch):
                inputs, targets = batch
                loss = super().training_loss(batch)
                return torch.where(inputs[0, 0] > rare, torch.nan, 1.0) * loss  # of some orders at some step

        return Exploding(model, partial(torch.optim.SGD, lr=0.05, momentum=0.9), num_classes=3)

    together, alone = (experiment(tmp_path / name, module=weighted) for name in ("together", "alone"))
    try:
        runs = runs_of(together, splits=(2,), seeds=range(12))
    except Exception:
        pytest.fail("the trunk itself was to get past its second step")
    train_together(runs)
    runs_of(alone, splits=(2,), seeds=())
    states = {}
    for run in runs:
        try:
            other = train_branch(alone, 2, run.seed)
        except Exception as error:
            status = read_json(run.folder.status)
            expected = read_json(Run(alone, 2, run.seed).folder.status)
            assert (status["state"], status["step"]) == ("diverged", expected["step"]), error
            assert status["last_finite_loss"] == pytest.approx(expected["last_finite_loss"], abs=WITHIN)
            states[run.seed] = "diverged"
        else:
            assert_alike(run, other)
            states[run.seed] = "finished"
    assert set(states.values()) == {"diverged", "finished"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"build_model": lambda: nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))}, "dropout"),
        ({"gradient_clip_val": 1.0}, "clipped"),
        ({"make_callbacks": lambda: [object()]}, "task.callbacks"),
    ],
)
def test_what_would_not_be_the_same_is_trained_alone(tmp_path, changes, said):
    own = experiment(tmp_path)
    own = replace(own, task=replace(own.task, **changes))
    assert said in why_alone(Run(own), allows_noise=False)


def test_values_are_clipped_number_by_number(tmp_path):
    own = experiment(tmp_path, gradient_clip_val=0.01, gradient_clip_algorithm=ClipAlgorithm.VALUE)
    assert why_alone(Run(own), allows_noise=False) is None
    runs = runs_of(own, splits=(13,))
    train_together(runs)
    alone = experiment(tmp_path / "alone", gradient_clip_val=0.01, gradient_clip_algorithm=ClipAlgorithm.VALUE)
    for run in runs:
        assert_alike(run, train_branch(alone, 13, run.seed))


class Layerwise(torch.optim.SGD):
    """Steps of the length of a tensor's weights (LARS): the norm of a stack is not that of its rows."""

    def step(self, closure=None):
        loss = closure() if closure else None
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter -= 0.01 * parameter.norm() * parameter.grad / (parameter.grad.norm() + 1e-9)
        return loss


def test_an_optimizer_that_looks_at_whole_tensors_is_seen(tmp_path):
    module = lambda model: Classification(model, partial(Layerwise, lr=0.1), num_classes=3)  # noqa: E731
    assert "differ by" in why_alone(Run(experiment(tmp_path, module=module)), allows_noise=False)


class AsksForValues(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        return self.layer(x) if float(x.sum()) > -1e9 else x


def test_a_model_that_torch_func_cannot_take_is_trained_alone_and_said_so_once(tmp_path, caplog):
    own = replace(experiment(tmp_path, model=AsksForValues), settings=RunSettings(together=2))
    runs = runs_of(own, splits=(13,), seeds=(0, 1))
    with caplog.at_level("INFO"):
        train_branches_side_by_side(runs)
        train_branches_side_by_side(runs)
    assert caplog.text.count("one run after another") == 1
    assert "one run after another, since a trial of two models together failed" in caplog.text
    assert not runs[0].folder.endpoint.exists()


def test_noise_of_layers_may_depend_on_the_company_where_a_number_allows_it(tmp_path):
    noisy = lambda: nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.5), nn.Linear(16, 3))  # noqa: E731
    own = replace(experiment(tmp_path, model=noisy), settings=RunSettings(together=2))
    runs = runs_of(own, splits=(13,), seeds=(0, 1))
    train_branches_side_by_side(runs)
    for run in runs:
        trained = checkpoint.load(run.folder.endpoint).state["trained"]
        assert trained["noise"] == "depends on the company" == read_json(run.folder.status)["trained"]["noise"]


def test_without_noise_nothing_is_said_of_it(tmp_path):
    runs = runs_of(replace(experiment(tmp_path), settings=RunSettings(together=2)), splits=(13,), seeds=(0, 1))
    train_branches_side_by_side(runs)
    expected = {"device": "cpu", "together": 2, "precision": "64-true", "captured": False}
    assert checkpoint.load(runs[0].folder.endpoint).state["trained"] == expected


def test_a_cpu_trains_one_after_another_by_itself(tmp_path):
    runs = runs_of(experiment(tmp_path), splits=(13,), seeds=(0, 1))
    train_branches_side_by_side(runs)
    assert not any(run.folder.endpoint.exists() for run in runs)


def test_of_more_than_fit_the_rest_comes_after(tmp_path):
    own = replace(experiment(tmp_path), settings=RunSettings(together=2))
    runs = runs_of(own, splits=(13,), seeds=range(5))
    train_branches_side_by_side(runs)
    counts = [read_json(run.folder.status)["trained"]["together"] for run in runs]
    assert counts == [2, 2, 2, 2, 1]


def test_where_memory_runs_out_half_as_many_are_trained(tmp_path, monkeypatch):
    from lmc_lab.runs import together

    sizes = []

    def with_limit(runs, **keywords):
        sizes.append(len(runs))
        if len(runs) > 2:
            raise torch.cuda.OutOfMemoryError
        return real(runs, **keywords)

    real = together.train_together
    monkeypatch.setattr(together, "train_together", with_limit)
    own = replace(experiment(tmp_path), settings=RunSettings(together=7))
    runs = runs_of(own, splits=(13,), seeds=range(5))
    train_branches_side_by_side(runs)
    assert sizes == [5, 3, 2, 2, 1] and all(run.folder.endpoint.exists() for run in runs)


def test_a_busy_branch_is_left_to_who_holds_it(tmp_path):
    from filelock import FileLock

    runs = runs_of(experiment(tmp_path), splits=(13,))
    runs[1].folder.path.mkdir(parents=True)
    with FileLock(runs[1].folder.lock):
        train_together(runs)
    assert [run.folder.endpoint.exists() for run in runs] == [True, False, True]


def test_augmentation_is_each_branchs_own(tmp_path):
    def load_data():
        base = tiny_experiment(tmp_path).task.load_data()
        shift = lambda inputs, generator: inputs + torch.randn(inputs.shape, generator=generator)  # noqa: E731
        return Dataset(base.train, base.test, base.digest, shift)

    together, alone = (experiment(tmp_path / name, load_data=load_data) for name in ("together", "alone"))
    runs = runs_of(together, splits=(13,))
    train_together(runs)
    for run in runs:
        assert_alike(run, train_branch(alone, 13, run.seed))


def test_trunks_together_are_trunks_alone(tmp_path):
    settings = RunSettings(log_every=5)
    together = [replace(experiment(tmp_path / "together"), trunk_seed=seed, settings=settings) for seed in range(3)]
    task = together[0].task  # one object for all
    together = [replace(each, task=task) for each in together]
    ensure_trunk(together[1], {7})  # one is ahead
    train_trunks_together(together, {13, 20, 40}, splits={13, 20})
    for each in together:
        other = replace(experiment(tmp_path / "alone"), trunk_seed=each.trunk_seed, settings=settings)
        ensure_trunk(other, {13, 20, 40}, splits={13, 20})
        ours, theirs = each.trunk_folder, other.trunk_folder
        assert ours.saved_steps() - {7} == theirs.saved_steps() == {0, 13, 20, 40}
        for step in theirs.saved_steps():
            found, expected = (checkpoint.load(folder.step(step)).state for folder in (ours, theirs))
            for name, value in expected["state_dict"].items():
                torch.testing.assert_close(found["state_dict"][name], value, rtol=0, atol=WITHIN)
        assert each.split(13).is_published(each.split_folder(13))
        status, expected = read_json(ours.status), read_json(theirs.status)
        assert status["state"] == "finished" and status["trained_to"] == expected["trained_to"] == 40
        assert status["rows"] == expected["rows"]
        assert checkpoint.load(ours.step(20)).state["trained"]["together"] == 3
    ensure_trunk(together[0], {13, 20, 40}, splits={13, 20})  # nothing is left
    assert not together[0].paths.programs()


def test_killed_trunks_go_on_each_by_itself(tmp_path, monkeypatch):
    settings = RunSettings(log_every=5, resume_seconds=0.0)
    own = replace(experiment(tmp_path / "killed"), settings=settings)
    trunks = [replace(own, trunk_seed=seed) for seed in range(2)]
    with monkeypatch.context() as patch:
        stop_at(patch, 29, Killed())
        with pytest.raises(Killed):
            train_trunks_together(trunks, {13, 40})
    for each in trunks:
        ensure_trunk(each, {13, 40})
        other = replace(experiment(tmp_path / "alone"), trunk_seed=each.trunk_seed, settings=settings)
        ensure_trunk(other, {13, 40})
        found, expected = (checkpoint.load(one.trunk_folder.step(40)).state for one in (each, other))
        for name, value in expected["state_dict"].items():
            torch.testing.assert_close(found["state_dict"][name], value, rtol=0, atol=WITHIN)
        assert read_json(each.trunk_folder.status)["start"] > 20  # it did not begin again
    assert not own.paths.programs()


@pytest.mark.parametrize("kind", [torch.optim.NAdam, torch.optim.ASGD, torch.optim.RMSprop, torch.optim.Adamax])
def test_optimizers_with_numbers_of_all_models_are_the_same_or_alone(tmp_path, kind):
    module = lambda model: Classification(model, partial(kind, lr=0.01), num_classes=3)  # noqa: E731
    together, alone = (experiment(tmp_path / name, module=module) for name in ("together", "alone"))
    runs = runs_of(together, splits=(13,), seeds=(0, 1))
    assert why_alone(runs[0], allows_noise=False) is None
    train_together(runs)
    runs_of(alone, splits=(13,), seeds=())
    for run in runs:
        assert_alike(run, train_branch(alone, 13, run.seed))


class Counts(nn.Module):
    """A model with a buffer that nobody saves."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.register_buffer("mean", torch.zeros(2), persistent=False)

    def forward(self, x):
        self.mean.lerp_(x.detach().mean(0), 0.1)
        return self.layer(x - self.mean)


class OfFloat(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        return self.layer(x.float())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"build_model": Counts}, "not in the model's state dict"),
        ({"build_model": OfFloat}, "trial"),
        ({"build_module": lambda model: Classification(model, torch.optim.LBFGS, num_classes=3)}, "trial"),
    ],
)
def test_what_cannot_be_tried_is_trained_alone(tmp_path, changes, said):
    own = experiment(tmp_path)
    assert said in why_alone(Run(replace(own, task=replace(own.task, **changes))), allows_noise=False)


def test_nothing_of_a_run_is_kept_that_is_no_number_any_more(tmp_path):
    """NaN at step 17, inside a window of the curve, and a split at 20."""

    class Breaks(Classification):
        def training_loss(self, batch):
            loss = super().training_loss(batch)
            self.steps += 1
            return torch.where(self.steps == 17, torch.nan, 1.0) * loss

        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            self.register_buffer("steps", torch.zeros(()))

    module = lambda model: Breaks(model, partial(torch.optim.SGD, lr=0.05), num_classes=3)  # noqa: E731
    own = replace(experiment(tmp_path, module=module), settings=RunSettings(log_every=50))
    trunks = [replace(own, trunk_seed=seed) for seed in range(2)]
    train_trunks_together(trunks, {20, 40}, splits={20})
    for each in trunks:
        status = read_json(each.trunk_folder.status)
        assert (status["state"], status["step"]) == ("diverged", 17)
        assert each.trunk_folder.saved_steps() == {0} and not each.split(20).is_published(each.split_folder(20))


def test_sigterm_saves_a_state_of_all(tmp_path, monkeypatch):
    import os
    import signal

    from lmc_lab import termination

    before = signal.getsignal(signal.SIGTERM)
    termination.handle_sigterm()
    try:
        runs = runs_of(experiment(tmp_path))

        from lmc_lab.runs import callbacks

        class Killing(callbacks.Heartbeat):
            def on_train_batch_end(self, trainer, *arguments):
                if trainer.global_step == 29:
                    os.kill(os.getpid(), signal.SIGTERM)

        with monkeypatch.context() as patch:
            patch.setattr("lmc_lab.runs.program.Heartbeat", Killing)
            with pytest.raises(SystemExit):
                train_together(runs)
        (path,) = runs[0].experiment.paths.programs()
        assert checkpoint.load(path).state["global_step"] in (29, 30)
        assert read_json(runs[0].folder.status)["state"] == "stopped"
    finally:
        termination.handle_sigterm()
        signal.signal(signal.SIGTERM, before)


def test_a_curve_that_was_lost_with_a_program_is_made_again_whole(tmp_path, monkeypatch):
    settings = RunSettings(log_every=5, resume_seconds=0.0)
    own = replace(experiment(tmp_path), settings=settings)
    runs = runs_of(own, splits=(13,))
    with monkeypatch.context() as patch:
        stop_at(patch, 29, Killed())
        with pytest.raises(Killed):
            train_together(runs)
    runs[0].folder.metrics.unlink()
    train_together(runs)
    steps = [[int(row["step"]) for row in read_rows(run.folder.metrics)] for run in runs]
    assert steps[0] == steps[1] == [15, 20, 25, 30, 35, 40]


def test_an_error_of_one_member_costs_only_itself(tmp_path, monkeypatch):
    runs = runs_of(experiment(tmp_path), splits=(13,))
    real = checkpoint.save

    def full(state, path):
        if path == runs[0].folder.endpoint:
            raise OSError("no room")
        return real(state, path)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(OSError, match="no room"):
        train_together(runs)
    assert [run.folder.endpoint.exists() for run in runs] == [False, True, True]
