"""Collapse along training, inside hulls and between them, beside features that a hook takes from the trained branches."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from lmc_lab.analyses.base import Choice, LeftOut, Measurement, Record
from lmc_lab.analyses.class_means import HullCollapse, InterCollapse
from lmc_lab.analyses.neural_collapse import BranchCollapse, TrunkCollapse
from lmc_lab.data.examples import Dataset
from lmc_lab.errors import UserError
from lmc_lab.landscape.hull import hull_points, sample_hull
from lmc_lab.landscape.neural_collapse import ClassMoments, Collapse, class_mean_bend, cosine_differences
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.modes import Modes
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.states import load_trunk
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.regression import Regression
from tiny import tiny_experiment, train_branch

KEPT = EvaluationSettings(bn_policy="keep")


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    trunks = [
        tiny_experiment(folder, trunk_seed=trunk, settings=RunSettings(log_every=5, save_steps=[20]))
        for trunk in (0, 1)
    ]
    for trunk in trunks:
        ensure_trunk(trunk, {13})
        for seed in range(3):
            train_branch(trunk, 13, seed)
    return trunks


def by_hand(task, theta, buffers):
    """Moments of the features at one point, taken by a hook, and the last layer's weights."""
    module = task.initialise(0).eval()
    task.layout.load(module, theta, {name: values[0] for name, values in buffers.items()})
    taken = []
    last = module.model[-1]
    last.register_forward_hook(lambda _, given, __: taken.append(given[0]))
    with torch.no_grad():
        module(task.dataset.train.inputs)
    return ClassMoments.of(taken[0][None], task.dataset.train.targets, 3), last.weight.detach()[None]


def measured(found):
    return [item for item in found if isinstance(item, Measurement)]


def test_a_trunk_has_the_measures_of_its_states(trunks):
    trunk, task = load_trunk(trunks[0], [0, 13]), trunks[0].task
    found = list(TrunkCollapse(evaluation=KEPT).measure(trunk, task))
    rows = {(row.quantity, row.step): row for row in measured(found)}
    assert len(rows) == 12 and any(isinstance(item, Choice) for item in found)
    for state in trunk.states:
        expected = vars(Collapse.of(*by_hand(task, state.theta, state.buffers)))
        for quantity, value in expected.items():
            row = rows[quantity, state.step]
            assert row.value == pytest.approx(float(value), rel=1e-4), quantity
            assert (row.num_samples, row.subset, row.branch) == (200, "train", None)
    assert rows["nc1", 13].value < rows["nc1", 0].value


def test_a_trunk_without_states_has_no_rows(trunks):
    trunk = load_trunk(trunks[0], [])
    assert not measured(TrunkCollapse().measure(trunk, trunks[0].task))


def test_branches_have_those_of_their_endpoints_and_of_their_way(trunks):
    mode, task = load_mode(trunks[0], 13, steps=[5, 20]), trunks[0].task
    rows = {
        (row.quantity, row.branch, row.step): row.value
        for row in measured(BranchCollapse(steps=[5, 20], evaluation=KEPT).measure(mode, task))
    }
    assert {(branch, step) for _, branch, step in rows} == {(branch, step) for branch in range(3) for step in (20, 40)}
    (state,) = mode.training.states_of(1)
    buffers = {name: values[2:] for name, values in mode.buffers.items()}
    points = {(1, 20): (state.theta, state.buffers), (2, 40): (mode.endpoints[2], buffers)}
    for (branch, step), point in points.items():
        for quantity, value in vars(Collapse.of(*by_hand(task, *point))).items():
            assert rows[quantity, branch, step] == pytest.approx(float(value), rel=1e-4)


def test_steps_of_which_branches_have_none_are_left_out(trunks):
    analysis, task = BranchCollapse(steps=[0, 13, 40], evaluation=KEPT), trunks[0].task
    found = list(analysis.measure(load_mode(trunks[0], 13, steps=analysis.steps), task))
    assert [str(item) for item in found if isinstance(item, LeftOut)] == [
        "states on the way, since none of the steps that are named lies between the split and the end"
    ]
    assert {row.step for row in measured(found)} == {40}


def test_a_hull_has_the_bend_of_its_class_means(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    evaluation = EvaluationSettings(bn_policy="interpolate")
    rows = measured(HullCollapse(num_samples=4, evaluation=evaluation).measure(mode, task))
    coefficients = torch.cat(
        [sample_hull(mode.endpoints, 4, seed=0).coefficients, torch.full((1, 3), 1 / 3, dtype=torch.float64)]
    )

    def means_at(theta, own):
        buffers = {
            name: torch.tensordot(own, values.double(), dims=1)[None] if values.is_floating_point() else values[:1]
            for name, values in mode.buffers.items()
        }
        return by_hand(task, theta, buffers)[0].classes.means

    points = hull_points(mode.endpoints, coefficients)
    means = torch.cat([means_at(theta, own) for theta, own in zip(points, coefficients, strict=True)])
    vertices = torch.eye(3, dtype=torch.float64)
    ends = torch.cat([means_at(theta, own) for theta, own in zip(mode.endpoints, vertices, strict=True)])
    *expected, centre = class_mean_bend(means, ends, coefficients).tolist()
    of_points = [row.value for row in rows if row.quantity == "point_class_mean_bend"]
    assert of_points == pytest.approx(expected, rel=1e-3)
    values = {row.quantity: row for row in rows if row.index is None}
    assert values["centre_class_mean_bend"].value == pytest.approx(centre, rel=1e-3)
    row = values["class_mean_bend"]
    assert row.value == pytest.approx(sum(expected) / 4, rel=1e-3) and row.num_samples == 4
    assert row.low < row.value < row.high


def test_modes_differ_in_the_angles_of_their_classes(trunks):
    modes, task = Modes(tuple(load_mode(trunk, 13) for trunk in trunks)), trunks[0].task
    found = list(InterCollapse(evaluation=KEPT).measure(modes, task))
    (record,) = [item for item in found if isinstance(item, Record)]
    assert record.tensor.shape == (6, 3, 3)
    torch.testing.assert_close(record.tensor.diagonal(dim1=1, dim2=2), torch.ones(6, 3, dtype=torch.float64))
    differences = cosine_differences(record.tensor)
    rows = {row.quantity: row for row in measured(found)}
    inter = rows["class_cosine_difference_inter"]
    assert inter.value == pytest.approx(float(differences[:3, 3:].mean())) and inter.num_samples == 6
    intra = [differences[i, j] for block in ((0, 1, 2), (3, 4, 5)) for i in block for j in block if i != j]
    assert rows["class_cosine_difference_intra"].value == pytest.approx(float(sum(intra) / len(intra)))
    assert inter.low < inter.value < inter.high


def test_a_regression_has_none_and_says_why(tmp_path):
    own = tiny_experiment(tmp_path)
    data = own.task.dataset
    train = replace(data.train, targets=nn.functional.one_hot(data.train.targets, 3).float())
    own = replace(
        own,
        task=replace(
            own.task,
            build_module=lambda model: Regression(model, partial(torch.optim.SGD, lr=0.1)),
            load_data=lambda: replace(data, train=train, test=None),
        ),
    )
    ensure_trunk(own, {13})
    for seed in range(2):
        train_branch(own, 13, seed)
    mode, trunk = load_mode(own, 13), load_trunk(own, [0])
    answers = [
        TrunkCollapse().measure(trunk, own.task),
        BranchCollapse().measure(mode, own.task),
        HullCollapse().measure(mode, own.task),
        InterCollapse().measure(Modes((mode, mode)), own.task),
    ]
    assert [list(answer) for answer in answers] == [
        [LeftOut("features of classes", "since the task has no classes")]
    ] * 4


def test_of_two_classes_there_is_nothing_that_is_the_same_for_any_features(trunks):
    task = trunks[0].task
    train = task.dataset.train
    two = Dataset(train.at((train.targets < 2).nonzero().flatten()), None, task.dataset.digest)
    task = replace(task, load_data=lambda: two)
    found = list(TrunkCollapse(evaluation=KEPT).measure(load_trunk(trunks[0], [13]), task))
    assert {row.quantity for row in measured(found)} == {"nc1", "nc3", "feature_norm"}
    assert [str(each) for each in found if isinstance(each, LeftOut)] == [
        "NC2, since the centred means of two classes are opposite vectors, whatever the features"
    ]
    *_, between = InterCollapse(evaluation=KEPT).measure(Modes(tuple(load_mode(each, 13) for each in trunks)), task)
    assert "angles between classes" in str(between)


def test_features_that_are_no_numbers_are_told_with_their_branch(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    endpoints = mode.load_endpoints()
    endpoints.thetas[1] *= 1e30
    broken = replace(mode, load_endpoints=lambda: endpoints)
    with pytest.raises(
        UserError, match=r"norm of features of every endpoint to be a number, found .* \(branch seed=1\)"
    ):
        list(BranchCollapse(evaluation=KEPT).measure(broken, task))
    with pytest.raises(UserError, match=r"class means of every endpoint to be a number, found .* \(branch seed=1\)"):
        list(HullCollapse(num_samples=2, evaluation=KEPT).measure(broken, task))
