"""Schedules, label smoothing, groups without weight decay and augmentation: functions of seed and step, like all else."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, OneCycleLR
from torchvision.transforms import v2

from lmc_lab.data.examples import Dataset, Examples
from lmc_lab.data.images import NormaliseImages
from lmc_lab.data.transforms import Transforms
from lmc_lab.errors import UserError
from lmc_lab.runs import callbacks, checkpoint
from lmc_lab.runs.companions import why_alone
from lmc_lab.runs.run import Run
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.together import train_together
from lmc_lab.runs.trunk import ensure_split, ensure_trunk
from lmc_lab.runs.variation import Variation
from lmc_lab.tasks import schedules
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.optimization import Optimization
from tiny import build_module, tiny_experiment, train_branch

SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
ADAMW = partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1)


def module(optimization, **keywords):
    return {"build_module": lambda model: Classification(model, optimization, num_classes=3, **keywords)}


def pictures(count=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (count,), generator=generator)
    images = torch.randint(100, (count, 6, 6, 3), generator=generator) + 60 * targets[:, None, None, None]
    return Examples(images.clamp(max=255).to(torch.uint8), targets, NormaliseImages((0.5,) * 3, (0.25,) * 3))


def small_convolution():
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


AUGMENTED = {
    "load_data": lambda: Dataset(pictures(), pictures(90, seed=1), "pictures"),
    "build_model": small_convolution,
    "make_transforms": lambda: [v2.RandomCrop(6, padding=2), v2.RandomHorizontalFlip(), v2.ColorJitter(0.3, 0.3)],
}
RECIPES = {
    "cosine": module(Optimization(SGD, partial(schedules.cosine, num_steps=40, warm_up_steps=9))),
    "linear": module(Optimization(ADAMW, partial(schedules.linear, num_steps=40))),
    "step": module(Optimization(SGD, partial(schedules.step, num_steps=40))),
    "torch's cosine": module(Optimization(SGD, partial(CosineAnnealingLR, T_max=40))),
    "torch's one cycle": module(Optimization(ADAMW, partial(OneCycleLR, max_lr=0.05, total_steps=41))),
    "torch's steps": module(Optimization(SGD, partial(MultiStepLR, milestones=[10, 20, 30]))),
    "label smoothing": module(SGD, label_smoothing=0.1),
    "groups": module(Optimization(ADAMW, decays_norms_and_biases=False)),
    "augmentation": AUGMENTED,
    "all": {
        **AUGMENTED,
        **module(
            Optimization(ADAMW, partial(schedules.cosine, num_steps=40), decays_norms_and_biases=False), label_smoothing=0.1
        ),
    },
}  # fmt: skip
each_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
IN_ALL = ("cosine", "label smoothing", "groups", "augmentation")  # alone where it costs less
_KINDS = {name: recipe for name, recipe in RECIPES.items() if name not in IN_ALL}
each_kind = pytest.mark.parametrize("recipe", _KINDS.values(), ids=_KINDS)


def experiment(path, recipe, *, seconds=60.0, **changes):
    own = tiny_experiment(path, settings=RunSettings(log_every=5, resume_seconds=seconds))
    return replace(own, task=replace(own.task, **recipe, **changes))


def weights(folder):
    return checkpoint.load(folder.endpoint).state["model"]


@each_recipe
def test_a_branch_in_the_trunks_own_order_is_the_trunk(tmp_path, recipe):
    own = experiment(tmp_path, recipe)
    ours = weights(train_branch(own, 13, "trunk"))
    ensure_trunk(own, {40})
    trunk = checkpoint.module_state(checkpoint.load(own.trunk_folder.step(40)).state)
    assert all(torch.equal(ours[name], value) for name, value in trunk.items())


class Killed(BaseException):
    pass


class Killing(callbacks.Heartbeat):
    def on_train_batch_end(self, trainer, *arguments):
        if trainer.global_step == 29:
            raise Killed


@each_kind
def test_a_branch_that_was_killed_ends_in_the_same_bits(tmp_path, monkeypatch, recipe):
    whole = train_branch(experiment(tmp_path / "whole", recipe, seconds=0.0), 13, 4)
    own = experiment(tmp_path / "killed", recipe, seconds=0.0)
    ensure_split(own, 13)
    with monkeypatch.context() as patch:
        patch.setattr("lmc_lab.runs.fit.Heartbeat", Killing)
        with pytest.raises(Killed):
            train_branch(own, 13, 4)
    assert checkpoint.load(train_branch(own, 13, 4).endpoint).digest == checkpoint.load(whole.endpoint).digest


def quiet_model():
    return nn.Sequential(nn.Linear(2, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


@each_kind
def test_together_is_alone(tmp_path, recipe):
    exact = {"precision": "64-true", "build_model": quiet_model} | recipe
    together, alone = (experiment(tmp_path / name, exact) for name in ("together", "alone"))
    for own in (together, alone):
        ensure_split(own, 13)
        ensure_split(own, 20)
    runs = [Run(together, step, seed) for step in (13, 20) for seed in (0, "trunk")]
    assert why_alone(runs[0], allows_noise=False) is None
    train_together(runs)
    for run in runs:
        expected = weights(train_branch(alone, run.split_step, run.seed))
        for name, value in weights(run.folder).items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-12)


def test_recipes_change_weights(tmp_path):
    ends = [
        weights(train_branch(experiment(tmp_path / str(i), recipe), 13, 0))
        for i, recipe in enumerate([{"build_module": build_module}, *list(RECIPES.values())[:8]])
    ]
    assert len({tuple(end["model.0.weight"].flatten().tolist()) for end in ends}) == len(ends)


def test_a_schedule_goes_on_where_the_optimizer_begins_afresh(tmp_path):
    recipe = module(Optimization(SGD, partial(CosineAnnealingLR, T_max=40)))
    settings = RunSettings(log_every=5, save_steps=[20])
    carried = replace(experiment(tmp_path, recipe), settings=settings)
    fresh = replace(carried, variation=Variation(carry_optimizer_state=False))
    rates = [
        checkpoint.load(train_branch(own, 13, 0).step(20)).state["optimizer_states"][0]["param_groups"][0]["lr"]
        for own in (carried, fresh)
    ]
    assert rates[0] == rates[1] < 0.05


@pytest.mark.parametrize(
    ("key", "said"), [("scheduler", "task.scheduler alone"), ("decay_norms_and_biases", "optimizer of")]
)
def test_branches_keep_the_schedule_of_their_trunk(tmp_path, key, said):
    own = experiment(tmp_path, RECIPES["cosine"])
    varied = replace(own, variation=Variation(task=own.task, described={"overrides": {key: False}}))
    with pytest.raises(UserError, match=f"expected branch.overrides to leave .*{said}"):
        train_branch(varied, 13, 0)


def test_branches_may_have_another_augmentation(tmp_path):
    own = experiment(tmp_path, AUGMENTED)
    task = replace(own.task, make_transforms=tuple, load_data=lambda: own.task.dataset)
    varied = replace(own, variation=Variation(task=task, described={"overrides": {"augmentation": []}}))
    ours, theirs = (weights(train_branch(each, 13, 0)) for each in (own, varied))
    assert not torch.equal(ours["model.0.weight"], theirs["model.0.weight"])


def test_points_are_judged_without_label_smoothing():
    task = Classification(nn.Identity(), SGD, num_classes=3, label_smoothing=0.2)
    outputs, targets = torch.randn(8, 3), torch.randint(3, (8,))
    torch.testing.assert_close(
        task.per_example_loss(outputs, targets), nn.functional.cross_entropy(outputs, targets, reduction="none")
    )
    torch.testing.assert_close(
        task.training_loss((outputs, targets)), nn.functional.cross_entropy(outputs, targets, label_smoothing=0.2)
    )


def test_each_picture_is_changed_by_itself_and_global_noise_is_left_alone():
    images = torch.arange(36, dtype=torch.uint8).view(1, 6, 6, 1).expand(64, 6, 6, 3)
    transforms = Transforms([v2.RandomHorizontalFlip(), v2.RandomCrop(6, padding=1)])
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (transforms(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(first.flatten(1).unique(dim=0)) > 10 and first.shape == images.shape


@pytest.mark.parametrize("transform", [v2.Resize(3), v2.ToDtype(torch.float32, scale=True)])
def test_a_transform_that_changes_shape_or_type_is_refused(transform):
    with pytest.raises(UserError, match=r"expected task.augmentation to keep shape and type, \(3, 6, 6\) torch.uint8"):
        Transforms([transform])(pictures(2).inputs, torch.Generator())
