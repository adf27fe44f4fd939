"""Branches that differ from their trunk in one kind of noise."""

import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch

from alike import assert_alike, quiet_model, runs_of, weights
from alike import experiment as quiet_experiment
from lmc_lab.data.order import Noise
from lmc_lab.errors import UserError
from lmc_lab.runs import checkpoint
from lmc_lab.runs.companions import why_alone
from lmc_lab.runs.noise import BranchNoise
from lmc_lab.runs.run import Run
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.together import train_together
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.runs.variation import Variation
from lmc_lab.tasks import schedules
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.optimization import Optimization
from runs.test_branch import Killed, killing_heartbeat
from tiny import augmented_clouds, tiny_experiment, train_branch


def with_noise(experiment, **settings):
    return replace(experiment, variation=Variation(noise=BranchNoise(**settings), described={"noise": settings}))


def every_noise(path):
    """The tiny task, which has dropout, with augmentation."""
    own = tiny_experiment(path, settings=RunSettings(log_every=5, resume_seconds=0.0))
    return replace(own, task=replace(own.task, load_data=augmented_clouds, num_classes=3))


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    own = every_noise(tmp_path_factory.mktemp("noise"))
    ensure_trunk(own, {13, 40}, splits={13})
    return own


def same(ours, theirs):
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("kind", list(Noise))
def test_a_branch_is_a_function_of_its_seed_and_with_the_trunks_it_is_the_trunk(trunk, kind, tmp_path, monkeypatch):
    own = with_noise(trunk, kind=str(kind))
    first, other, like_trunk = (weights(train_branch(own, 13, seed)) for seed in (0, 1, "trunk"))
    end = checkpoint.module_state(checkpoint.load(own.trunk_folder.step(40)).state)
    assert same(like_trunk, end) and not same(first, end) and not same(first, other)

    shutil.copytree(trunk.trunk_folder.path, every_noise(tmp_path).trunk_folder.path, ignore=lambda *_: ["branch-0"])
    again = with_noise(every_noise(tmp_path), kind=str(kind))
    with monkeypatch.context() as patch:
        patch.setattr("lmc_lab.runs.fit.Heartbeat", killing_heartbeat(29))
        with pytest.raises(Killed):
            train_branch(again, 13, 0)
    assert Run(again, 13, 0).folder.resume.exists()
    assert same(weights(train_branch(again, 13, 0)), first)


def test_kinds_have_folders_of_their_own_and_none_is_the_one_that_there_was(trunk):
    names = {with_noise(trunk, kind=str(kind)).split_folder(13).path.name for kind in Noise}
    assert len(names) == len(Noise) and all(name.startswith("split-13-varied_") for name in names)
    assert trunk.split_folder(13).path.name == "split-13"


def test_wrong_labels_are_a_branchs_own_and_not_those_by_which_points_are_judged(trunk):
    own = with_noise(trunk, kind="labels", share=0.15)
    true = own.task.dataset.train.targets.clone()
    seen = [Run(own, 13, seed).examples for seed in (0, 1, "trunk")]
    assert [int((each.targets != true).sum()) for each in seen] == [30, 30, 0]
    assert not torch.equal(seen[0].targets, seen[1].targets) and seen[0].inputs is own.task.dataset.train.inputs
    assert torch.equal(own.task.dataset.train.targets, true) and torch.equal(Run(own).examples.targets, true)
    batches = Run(own, 13, 0).batches(13)
    index = batches.order.indices(20)
    assert torch.equal(batches.at(20)[1], seen[0].targets[index])
    assert torch.equal(index, Run(own).batches(13).order.indices(20))


def test_a_rate_is_the_trunks_times_a_factor(trunk):
    def rates(seed, **settings):
        own = with_noise(trunk, kind="rate", **settings)
        state = checkpoint.load(own.trunk_folder.step(13)).state
        begun = own.variation.begun(state, Run(own, 13, seed).origin)
        return [group["lr"] for group in begun["optimizer_states"][0]["param_groups"]]

    assert rates(1, factors=(0.5, 3.0)) == [pytest.approx(0.15)] and rates("trunk") == [0.05]
    with pytest.raises(UserError, match=r"expected branch.noise.factors for seed=2, found 2"):
        rates(2, factors=(0.5, 3.0))
    factors = torch.tensor([BranchNoise(kind="rate", spread=3.0).rate_factor(0, seed) for seed in range(400)])
    assert 1 / 3 <= float(factors.min()) < 0.4 and 2.5 < float(factors.max()) <= 3
    assert abs(float(factors.log().mean())) < 0.15  # 4 deviations of a mean of 400 uniform numbers in +-log 3


def scheduled(model):
    optimizer = Optimization(partial(torch.optim.SGD, lr=0.1), partial(schedules.cosine, num_steps=40))
    return Classification(model, optimizer, num_classes=3)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("augmentation", {}, "inputs are not augmented"),
        ("dropout", {"build_model": quiet_model}, "no layer of it draws numbers"),
        ("labels", {}, "targets are no classes"),
        ("rate", {"build_module": scheduled}, "follows a schedule"),
    ],
)
def test_noise_that_a_task_does_not_have_is_refused(tmp_path, kind, changes, said):
    own = tiny_experiment(tmp_path)
    own = with_noise(replace(own, task=replace(own.task, **changes)), kind=kind)
    with pytest.raises(
        UserError, match=f"expected branch.noise.kind to be noise that tiny has, found {kind}, .*{said}"
    ):
        train_branch(own, 13, 0)


@pytest.mark.parametrize("settings", [{"kind": "labels", "share": 0.3}, {"kind": "rate"}, {"kind": "order"}])
def test_together_is_alone(tmp_path, settings):
    """Rates of their own are trained in turn."""
    together, alone = (
        with_noise(quiet_experiment(tmp_path / name, num_classes=3), **settings) for name in ("together", "alone")
    )
    runs = runs_of(together, splits=(13,))
    assert why_alone(runs[0], allows_noise=False) is None
    train_together(runs)
    runs_of(alone, splits=(13,))
    for run in runs:
        assert_alike(run, train_branch(alone, 13, run.seed))


def test_dropout_would_be_the_companys(trunk):
    run = Run(with_noise(trunk, kind="labels"), 13, 0)
    assert (
        "branch.noise" in why_alone(run, allows_noise=True) and why_alone(Run(trunk, 13, 0), allows_noise=True) is None
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "weather"},
        {"kind": "labels", "share": 0.0},
        {"kind": "rate", "spread": 1.0},
        {"kind": "rate", "factors": (2.0,)},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(UserError, match=r"expected branch.noise\.\w+ to be"):
        BranchNoise(**settings)
