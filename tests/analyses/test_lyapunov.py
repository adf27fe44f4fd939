"""Windows of a trunk are its own steps again, and differences grow in them as those of two nearby runs do."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import nn

from lmc_lab.analyses.base import LeftOut, Measurement
from lmc_lab.analyses.lyapunov import TrunkLyapunov, followed
from lmc_lab.data.order import trunk_order
from lmc_lab.errors import UserError
from lmc_lab.landscape.lyapunov import growth
from lmc_lab.runs.manual import ManualTraining
from lmc_lab.runs.states import load_trunk
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.tasks.classification import Classification
from tiny import tiny_experiment

CPU = torch.device("cpu")


def decayed(model):
    return Classification(
        model, partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True), num_classes=3
    )


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """In float64, with weight decay, Nesterov's momentum, BatchNorm and dropout; W_13 and W_40 are kept."""
    experiment = tiny_experiment(tmp_path_factory.mktemp("tiny"))
    experiment = replace(experiment, task=replace(experiment.task, precision="64-true", build_module=decayed))
    ensure_trunk(experiment, {13, 40})
    return experiment, load_trunk(experiment)


def training_from(task, state, theta=None):
    order = trunk_order(0, len(task.dataset.train), task.batch_size)
    moved = state if theta is None else replace(state, theta=theta)
    return ManualTraining(task, 0, moved, task.dataset.train, order, device=CPU)


def test_a_window_is_the_trunks_own_steps(trunk):
    experiment, loaded = trunk
    _, before, after = loaded.states
    training = training_from(experiment.task, before)
    for _ in followed(training, range(13, 40)):
        pass
    assert (before.theta - after.theta).abs().max() > 0.01
    torch.testing.assert_close(training.theta, after.theta.double(), rtol=0, atol=1e-6)  # states are kept in float32


def test_a_difference_grows_as_that_of_two_nearby_runs(trunk):
    experiment, loaded = trunk
    state = loaded.states[1]
    direction = torch.randn(1, len(state.theta), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    direction /= direction.norm()
    steps = range(13, 33)
    found = growth(followed(training_from(experiment.task, state), steps), direction)
    runs = [
        training_from(experiment.task, state, state.theta.double() + sign * 1e-6 * direction[0]) for sign in (1, -1)
    ]
    for number, _ in enumerate(zip(*(followed(run, steps) for run in runs), strict=True)):
        distance = (runs[0].theta - runs[1].theta).norm() / 2e-6
        assert float(distance.log()) == pytest.approx(float(found.of_theta[number]), abs=1e-3), number


def test_rows_of_each_window_that_ends_by_the_last_step(trunk):
    experiment, loaded = trunk
    analysis = TrunkLyapunov(num_steps=20, num_directions=2, seed=3)
    found = [item for item in analysis.measure(loaded, experiment.task) if isinstance(item, Measurement)]
    assert {(row.quantity, row.step) for row in found} == {
        (name, step) for name in ("lyapunov_exponent", "difference_growth") for step in (0, 13)
    }
    assert all(row.num_samples == 2 and row.low < row.value < row.high for row in found)
    state, size = loaded.states[1], len(loaded.states[1].theta)
    directions = torch.randn(2, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = growth(followed(training_from(experiment.task, state), range(13, 33)), directions)
    by_name = {row.quantity: row.value for row in found if row.step == 13}
    last = expected.whole[20] - expected.whole[10]
    assert by_name["lyapunov_exponent"] == pytest.approx(float(last.mean()) / 10, rel=1e-12)
    assert by_name["difference_growth"] == pytest.approx(float(expected.of_theta[20].mean()) / 20, rel=1e-12)


def test_windows_that_all_end_after_the_last_step_are_said_to(trunk):
    experiment, loaded = trunk
    *_, found = TrunkLyapunov(num_steps=41).measure(loaded, experiment.task)
    assert str(found) == (
        "Lyapunov exponents, since no window of 41 steps from one of the trunk's states ends by T = 40"
    )


class WithUnused(nn.Linear):
    """A model with a parameter that no gradient reaches."""

    def __init__(self):
        super().__init__(2, 3)
        self.unused = nn.Parameter(torch.ones(4))


def test_weight_decay_leaves_alone_what_no_gradient_reaches(trunk):
    experiment, _ = trunk
    task = replace(experiment.task, build_model=WithUnused)
    module = task.initialise(0)
    theta, (state, *_) = task.layout.parameters.flatten(dict(module.named_parameters())).detach(), trunk[1].states
    own = replace(state, theta=theta, buffers={}, optimizer=module.configure_optimizers().state_dict())
    place = next(i for i, name in enumerate(task.layout.parameters.names) if "unused" in name)
    start = sum(task.layout.parameters.sizes[:place])
    direction = torch.zeros(1, len(theta), dtype=torch.float64)
    direction[0, start : start + 4] = 1
    found = growth(followed(training_from(task, own), range(5)), direction)
    assert not found.whole.any() and not found.of_theta.any()


def test_differences_begin_without_what_no_gradient_reaches(trunk):
    experiment, loaded = trunk
    state, found = loaded.states[0], []
    directions = torch.randn(2, 9 + 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for build_model in (WithUnused, lambda: nn.Linear(2, 3)):
        task = replace(experiment.task, build_model=build_model)
        module = task.initialise(0)
        parameters = dict(module.named_parameters())
        theta = task.layout.parameters.flatten(parameters).detach()
        is_used = torch.cat(
            [value.new_full((value.numel(),), "unused" not in key) for key, value in parameters.items()]
        )
        own = replace(state, theta=theta, buffers={}, optimizer=module.configure_optimizers().state_dict())
        all_of_them = torch.zeros(2, len(theta), dtype=torch.float64)
        all_of_them[:, is_used.bool()] = directions[:, :9]
        all_of_them[:, ~is_used.bool()] = directions[:, 9 : 9 + int((~is_used.bool()).sum())]
        found.append(growth(followed(training_from(task, own), range(20)), all_of_them))
    torch.testing.assert_close(found[0].whole, found[1].whole)
    torch.testing.assert_close(found[0].of_theta, found[1].of_theta)
    assert found[0].whole.any()


def scheduled(optimizer):
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3), "interval": "step"},
    }


class Own(Callback):
    """A callback of a user's."""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"build_module": lambda model: Classification(model, partial(torch.optim.Adam, lr=0.01))}, "the task has Adam"),
        ({"build_module": lambda model: Classification(model, lambda p: scheduled(torch.optim.SGD(p, lr=0.1)))}, "schedule"),
        ({"build_module": lambda model: Classification(model, partial(torch.optim.SGD, lr=0.1, maximize=True))}, "maximises"),
        ({"gradient_clip_val": 1.0}, "clipped"),
        ({"precision": "bf16-mixed"}, "in bf16-mixed"),
        ({"make_callbacks": lambda: [EMAWeightAveraging(), Own()]}, "task.callbacks may change its steps (Own)"),
    ],
)  # fmt: skip
def test_other_steps_than_those_of_sgd_are_left_out(trunk, changes, said):
    experiment, loaded = trunk
    (found,) = TrunkLyapunov(num_steps=2).measure(
        loaded, replace(experiment.task, **{"precision": "32-true"} | changes)
    )
    assert isinstance(found, LeftOut) and said in str(found)


def test_an_average_beside_the_steps_changes_none_of_them(trunk):
    experiment, loaded = trunk
    averaged = replace(experiment.task, make_callbacks=lambda: [EMAWeightAveraging()])
    found = [list(TrunkLyapunov(num_steps=20).measure(loaded, task)) for task in (experiment.task, averaged)]
    assert found[0] == found[1] and any(isinstance(item, Measurement) for item in found[1])


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="num_steps"):
        TrunkLyapunov(num_steps=1)
