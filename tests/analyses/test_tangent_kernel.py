"""Kernels along a trunk and between branches, beside Jacobians that autograd gives of the trained states."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from scipy import stats
from torch import nn

from lmc_lab.analyses import tangent_kernel
from lmc_lab.analyses.base import LeftOut, Measurement
from lmc_lab.analyses.tangent_kernel import BranchKernel, InterKernel, TrunkKernel
from lmc_lab.errors import UserError
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.modes import Modes
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.states import load_trunk
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.regression import Regression
from lmc_lab.tasks.task import Task
from tiny import tiny_experiment, train_branch
from written import Written

KEPT = {"num_examples": 20, "evaluation": EvaluationSettings(bn_policy="keep")}


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    """Two trunks of a network with BatchNorm and dropout; an epoch has 12 steps, so that 0.4 of it are 5."""
    folder = tmp_path_factory.mktemp("tiny")
    settings = RunSettings(log_every=5, save_steps=[18, 40])
    trunks = [tiny_experiment(folder, trunk_seed=trunk, settings=settings) for trunk in (0, 1)]
    for trunk in trunks:
        ensure_trunk(trunk, {13, 18, 40})
        for seed in range(3):
            train_branch(trunk, 13, seed)
    return trunks


def by_hand(task: Task, theta, buffers):
    """K at one point, in float64, an output of an example at a time."""
    module = task.initialise(0).eval()
    task.layout.load(module, theta, {name: values[0] for name, values in buffers.items()})
    module.double()
    examples = task.dataset.train.draw(20)
    rows = []
    for i in range(20):
        outputs = module(examples.inputs[i : i + 1].double()).flatten()
        found = [torch.autograd.grad(output, list(module.parameters()), retain_graph=True) for output in outputs]
        rows.append(torch.stack([torch.cat([part.flatten() for part in parts]) for parts in found]))
    jacobian = torch.stack(rows)
    return torch.einsum("iod,jod->ij", jacobian, jacobian)


def apart(first, second):
    return float(1 - (first * second).sum() / (first.norm() * second.norm()))


def measured(found):
    return {(row.quantity, row.step): row for row in found if isinstance(row, Measurement)}


def test_a_trunk_has_the_distances_of_its_kernels_and_the_velocity_of_its_own_steps(trunks):
    trunk, task = load_trunk(trunks[0], [0, 13, 18, 40]), trunks[0].task
    rows = measured(TrunkKernel(**KEPT).measure(trunk, task))
    kernels = {state.step: by_hand(task, state.theta, state.buffers) for state in trunk.states}
    expected = {
        ("kernel_distance_first", 18): apart(kernels[0], kernels[18]),
        ("kernel_distance_next", 0): apart(kernels[0], kernels[13]),
        ("kernel_distance_next", 18): apart(kernels[18], kernels[40]),
        ("kernel_distance_last", 13): apart(kernels[13], kernels[40]),
        ("kernel_velocity", 13): apart(kernels[13], kernels[18]) * 12 / 5,  # W_18 is the trunk's own, by Lightning
    }
    for place, value in expected.items():
        row = rows[place]
        assert row.value == pytest.approx(value, rel=1e-4), place
        assert row.low < row.value < row.high and (row.num_samples, row.subset) == (20, "train")
    row, left_out = rows["kernel_distance_next", 18], []
    for i in range(20):
        kept = [j for j in range(20) if j != i]
        left_out.append(apart(*(kernels[step][kept][:, kept] for step in (18, 40))))
    error = (19 / 20 * sum((each - sum(left_out) / 20) ** 2 for each in left_out)) ** 0.5  # the jackknife's
    assert row.high - row.value == pytest.approx(stats.t.ppf(0.975, 19) * error, rel=1e-3)
    assert rows["kernel_trace", 18].value == pytest.approx(float(kernels[18].trace()) / 20, rel=1e-5)
    steps = {name: {step for own, step in rows if own == name} for name, _ in rows}
    assert steps == {
        "kernel_trace": {0, 13, 18, 40},
        "kernel_distance_first": {13, 18, 40},
        "kernel_distance_next": {0, 13, 18},
        "kernel_distance_last": {0, 13, 18},
        "kernel_velocity": {0, 13, 18},  # from 40, which is T, it would end too late
    }


def test_branches_have_the_distances_between_them_and_to_the_split(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    rows = measured(BranchKernel(**KEPT).measure(mode, task))
    ends = [
        by_hand(task, theta, {name: values[i : i + 1] for name, values in mode.buffers.items()})
        for i, theta in enumerate(mode.endpoints)
    ]
    state = mode.training.split_state
    at_split = by_hand(task, state.theta, state.buffers)
    pairs = [apart(ends[i], ends[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    between, to_split = rows["kernel_distance_endpoints", None], rows["kernel_distance_split", None]
    assert between.value == pytest.approx(sum(pairs) / 3, rel=1e-4) and between.num_samples == 3
    assert to_split.value == pytest.approx(sum(apart(end, at_split) for end in ends) / 3, rel=1e-4)


def test_modes_have_the_distances_between_their_endpoints(trunks):
    modes, task = Modes(tuple(load_mode(trunk, 13) for trunk in trunks)), trunks[0].task
    (row,) = measured(InterKernel(**KEPT).measure(modes, task)).values()
    ends = [
        [
            by_hand(task, theta, {name: values[i : i + 1] for name, values in mode.buffers.items()})
            for i, theta in enumerate(mode.endpoints)
        ]
        for mode in modes
    ]
    expected = sum(apart(first, second) for first in ends[0] for second in ends[1]) / 9
    assert row.value == pytest.approx(expected, rel=1e-4) and row.num_samples == 6


def with_model(experiment, build_model):
    return replace(experiment, task=replace(experiment.task, build_model=build_model))


def linear(tmp_path):
    """A regression that is linear in its parameters."""
    own = with_model(tiny_experiment(tmp_path), lambda: nn.Linear(2, 3))
    data = own.task.dataset
    train = replace(data.train, targets=nn.functional.one_hot(data.train.targets, 3).float())
    parts = {
        "build_module": lambda model: Regression(model, partial(torch.optim.Adam, lr=0.1)),
        "load_data": lambda: replace(data, train=train, test=None),
    }
    return replace(own, task=replace(own.task, **parts))


def test_the_kernel_of_a_regression_that_is_linear_in_its_parameters_never_turns(tmp_path):
    own = linear(tmp_path)
    ensure_trunk(own, {13, 40})
    for seed in range(2):
        train_branch(own, 13, seed)
    rows = measured(TrunkKernel().measure(load_trunk(own), own.task))
    rows |= measured(BranchKernel().measure(load_mode(own, 13), own.task))
    inputs = own.task.dataset.train.draw(128).inputs
    assert rows.pop(("kernel_trace", 0)).value == pytest.approx(
        float(3 * (inputs.square().sum(1) + 1).mean()), rel=1e-5
    )
    others = [row for (name, _), row in rows.items() if name != "kernel_trace"]
    assert len(others) == 2 * 4 + 2 and not any(row.value for row in others)


def test_outputs_without_a_gradient_have_no_kernel_and_this_is_said(trunks):
    detached = with_model(trunks[0], lambda: Written(lambda m, x: m.layer(x).detach(), layer=nn.Linear(2, 3)))
    theta, (state, *_) = torch.zeros(9), load_trunk(trunks[0], [0]).states
    trunk = replace(load_trunk(trunks[0], [0]), task=detached.task)
    vars(trunk)["states"] = (replace(state, theta=theta, buffers={}),)
    *_, said = TrunkKernel(num_examples=5).measure(trunk, detached.task)
    assert said == LeftOut("distances of tangent kernels", "since no output has a gradient")


def test_kernels_that_are_no_numbers_are_told_with_their_branch(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    endpoints = mode.load_endpoints()
    endpoints.thetas[1] *= 1e30
    broken = replace(mode, load_endpoints=lambda: endpoints)
    with pytest.raises(UserError, match=r"trace of the tangent kernel of every endpoint .* \(branch seed=1\)"):
        list(BranchKernel(**KEPT).measure(broken, task))


def test_a_velocity_whose_windows_all_end_after_the_last_step_is_said_to_be_left_out(trunks):
    trunk = load_trunk(trunks[0], [18, 40])
    found = list(TrunkKernel(num_epochs=2.0, **KEPT).measure(trunk, trunks[0].task))
    (left_out,) = (item for item in found if isinstance(item, LeftOut))
    assert "no window of 24 steps" in str(left_out) and ("kernel_velocity", 18) not in measured(found)
    assert ("kernel_trace", 18) in measured(found)


def test_the_velocity_of_a_task_with_callbacks_of_its_own_is_left_out(trunks):
    own = replace(trunks[0].task, make_callbacks=lambda: [Callback()])
    found = list(TrunkKernel(**KEPT).measure(load_trunk(trunks[0], [13, 40]), own))
    (left_out,) = (item for item in found if isinstance(item, LeftOut))
    assert "task.callbacks" in str(left_out) and ("kernel_velocity", 13) not in measured(found)


def test_a_trunk_without_states_has_no_rows(trunks):
    trunk = load_trunk(trunks[0], [])
    assert not measured(TrunkKernel(**KEPT).measure(trunk, trunks[0].task))


def test_where_one_example_has_all_of_a_kernel_there_is_no_interval(trunks):
    kernels = torch.zeros(2, 4, 4, dtype=torch.float64)
    kernels[:, 0, 0], kernels[1, 1, 1] = 1, 0.5
    found = tangent_kernel._distance("kernel_distance_next", *kernels, step=3)
    assert found.value == pytest.approx(1 - 1 / 1.25**0.5) and found.low is found.high is None and found.step == 3


def test_one_example_is_refused():
    with pytest.raises(UserError, match="num_examples"):
        BranchKernel(num_examples=1)
