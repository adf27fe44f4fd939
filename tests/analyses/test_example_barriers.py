"""Barriers by example of trained branches, beside what each example's loss is found to be one by one."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call

from lmc_lab.analyses.base import LeftOut, Measurement, Record
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.example_barriers import BarriersByExample
from lmc_lab.analyses.predictions import Predictions
from lmc_lab.landscape.rank_correlation import spearman
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.regression import Regression
from tiny import tiny_experiment, train_branch

KEPT = EvaluationSettings(bn_policy="keep")
INTERPOLATED = EvaluationSettings(bn_policy="interpolate")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    experiment = tiny_experiment(tmp_path_factory.mktemp("tiny"))
    for seed in range(4):
        train_branch(experiment, 13, seed)
    return experiment


def rows(found):
    own = [item for item in found if isinstance(item, Measurement)]
    return {row.quantity if row.index is None else (row.quantity, row.index): row for row in own}


def records(found):
    return {item.name: item.tensor for item in found if isinstance(item, Record)}


def outputs(task, theta, buffers):
    """Outputs on the training set, by the module itself."""
    module, layout = task.initialise(0).eval(), task.layout
    state = layout.parameters.unflatten(theta) | dict(buffers)
    with torch.no_grad():
        return functional_call(module, state, (task.dataset.train.inputs,))


def test_barriers_are_those_of_each_pair_and_example_in_s_j_and_outside(experiment):
    mode, task = load_mode(experiment, 13), experiment.task
    targets = task.dataset.train.targets
    found = list(BarriersByExample(num_endpoints=3, num_resamples=20, evaluation=INTERPOLATED).measure(mode, task))

    def losses(coefficients):
        buffers = {name: torch.tensordot(coefficients, values.double(), 1) for name, values in mode.buffers.items()}
        theta = coefficients @ mode.endpoints.double()
        own = outputs(
            task, theta.float(), {name: values.to(mode.buffers[name].dtype) for name, values in buffers.items()}
        )
        return nn.functional.cross_entropy(own, targets, reduction="none").double()

    each = torch.eye(4, dtype=torch.float64)
    barriers = torch.stack(
        [losses((each[i] + each[j]) / 2) - (losses(each[i]) + losses(each[j])) / 2 for i, j in ((0, 1), (0, 2), (1, 2))]
    )
    torch.testing.assert_close(records(found)["train_example_barrier"].double(), barriers.mean(0), atol=2e-6, rtol=1e-4)
    is_right = [
        outputs(task, mode.endpoints[i], {name: values[i] for name, values in mode.buffers.items()}).argmax(1)
        == targets
        for i in range(4)
    ]
    shared = torch.stack(is_right).all(dim=0)
    own = rows(found)
    for name, examples in (("", shared | ~shared), ("_shared", shared), ("_unshared", ~shared)):
        row = own[f"example_barrier{name}"]
        assert row.value == pytest.approx(float(barriers[:, examples].mean()), abs=1e-6)
        assert row.low <= row.value <= row.high and row.num_samples == 3
    assert own["shared_share"].value == pytest.approx(float(shared.double().mean()))
    assert own["p_example_barrier"].value == pytest.approx(float((barriers > 0).double().mean()), abs=0.01)


def test_they_are_taken_apart_what_other_analyses_have_as_one(experiment):
    """The mean is that of the Jensen gap at the midpoint, here of two endpoints, and S_j that of predictions."""
    mode, task = load_mode(experiment, 13, seeds=[0, 1]), experiment.task
    own = rows(BarriersByExample(evaluation=KEPT).measure(mode, task))
    levels = rows(item for item in ConvexMode(num_samples=2, evaluation=KEPT).measure(mode, task) if _is_train(item))
    expected = levels["centre_loss"].value - levels["endpoint_loss"].value
    assert own["example_barrier"].value == pytest.approx(expected, abs=1e-7)
    assert own["example_barrier"].low is None  # two endpoints have one pair
    shared = rows(item for item in Predictions(evaluation=KEPT).measure(mode, task) if _is_train(item))
    assert own["shared_share"].value == shared["intra_mode"].value


def _is_train(item):
    return isinstance(item, Measurement) and item.subset == "train"


def test_el2n_is_that_of_the_split_and_goes_with_barriers_as_ranks_do(experiment):
    mode, task = load_mode(experiment, 13), experiment.task
    found = list(BarriersByExample(num_resamples=50, evaluation=KEPT).measure(mode, task))
    state = mode.training.trunk.states[-1]
    assert state.step == 13
    buffers = {name: values[0] for name, values in state.buffers.items()}
    errors = outputs(task, state.theta, buffers).softmax(1) - nn.functional.one_hot(task.dataset.train.targets, 3)
    el2n, own = records(found)["train_el2n"], rows(found)
    torch.testing.assert_close(el2n, errors.norm(dim=1), atol=1e-6, rtol=1e-5)
    barriers = records(found)["train_example_barrier"]
    row = own["el2n_barrier_correlation"]
    assert row.value == pytest.approx(spearman(el2n, barriers), abs=1e-6) and row.low < row.value < row.high
    assert row.num_samples == 200
    tenths = [own["example_barrier_by_el2n", number].value for number in range(1, 11)]
    order = el2n.argsort(stable=True).reshape(10, 20)
    assert tenths == pytest.approx(barriers[order].mean(dim=1).tolist(), abs=1e-6)
    assert own["el2n_shared"].value < own["el2n_unshared"].value


def test_a_regression_has_barriers_alone(tmp_path):
    still = tiny_experiment(tmp_path)
    data = still.task.dataset
    data = replace(
        data, train=replace(data.train, targets=nn.functional.one_hot(data.train.targets, 3).float()), test=None
    )
    task = replace(
        still.task,
        build_model=lambda: nn.Linear(2, 3),
        build_module=lambda model: Regression(model, partial(torch.optim.SGD, lr=0.01)),
        load_data=lambda: data,
    )
    experiment = replace(still, task=task)
    for seed in range(3):
        train_branch(experiment, 13, seed)
    found = list(BarriersByExample(evaluation=KEPT).measure(load_mode(experiment, 13), task))
    assert rows(found).keys() == {"example_barrier", "p_example_barrier"}
    assert rows(found)["example_barrier"].value < 0  # the squared error of a linear model is convex
    assert [str(item) for item in found if isinstance(item, LeftOut)] == ["EL2N, since examples have no class each"]
