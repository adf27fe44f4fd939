"""Many hulls of some of a mode's endpoints, and the map of its plane, on trained branches of a tiny task."""

from itertools import combinations

import pytest
import torch
from torch import nn

from lmc_lab.analyses.base import Choice, LeftOut, Measurement
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.hulls import Hulls
from lmc_lab.analyses.plane import PlaneOfHull
from lmc_lab.errors import UserError
from lmc_lab.landscape.hull import hull_points
from lmc_lab.landscape.plane import principal_plane
from lmc_lab.runs.endpoints import Mode, load_mode
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from tiny import tiny_experiment, train_branch


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    experiment = tiny_experiment(tmp_path_factory.mktemp("tiny"))
    for seed in range(5):
        train_branch(experiment, 13, seed)
    return experiment


def table(found, **where):
    """The values by quantity of the measurements with these columns."""
    rows = [m for m in found if isinstance(m, Measurement) and all(getattr(m, k) == v for k, v in where.items())]
    return {m.quantity: m for m in rows}


@pytest.mark.parametrize("subset", ["train", "test"])
def test_each_hull_and_their_mean_have_their_own_intervals(experiment, subset):
    found = list(Hulls(num_samples=30).measure(load_mode(experiment, 13), experiment.task))
    hulls = [m for m in found if isinstance(m, Measurement) and (m.quantity, m.subset) == ("p_conv_hull", subset)]
    assert [m.index for m in hulls] == list(range(10))  # all pairs of five
    assert all(m.num_samples == 30 and m.low <= m.value <= m.high for m in hulls)
    assert table(found)["endpoints_per_hull"].value == 2
    mean = table(found, subset=subset)["p_conv_hulls"]
    shares = torch.tensor([m.value for m in hulls], dtype=torch.float64)
    assert mean.value == pytest.approx(float(shares.mean())) and mean.num_samples == 10
    error = (2 / 3 * shares.var(correction=0)).sqrt()
    assert mean.low == pytest.approx(max(0.0, float(shares.mean() - 2.7764451 * error)))
    assert 0 <= mean.low <= mean.value <= mean.high <= 1


def test_hulls_are_drawn_where_there_are_more_and_by_their_seed(experiment):
    mode, task = load_mode(experiment, 13), experiment.task

    def shares(**settings):
        found = Hulls(num_endpoints=3, num_samples=9, **settings).measure(mode, task)
        return [m.value for m in found if isinstance(m, Measurement) and m.quantity == "p_conv_hull"]

    assert len(shares(num_hulls=4)) == 8 and len(shares()) == 20
    assert shares(num_hulls=4) == shares(num_hulls=4) != shares(num_hulls=4, seed=1)


@pytest.mark.parametrize(
    ("settings", "seeds", "said"),
    [
        ({}, range(3), "expected at least 4 endpoints for hulls of half of them, found 3; train more branches"),
        (
            {"num_endpoints": 5},
            range(5),
            "expected more endpoints than the 5 of each hull, found 5; train more branches",
        ),
    ],
)
def test_too_few_endpoints_are_one_sentence(experiment, settings, seeds, said):
    with pytest.raises(UserError, match=said):
        list(Hulls(**settings).measure(load_mode(experiment, 13, seeds=seeds), experiment.task))


@pytest.mark.parametrize("policy", ["reestimate", "interpolate", "keep"])
def test_endpoints_and_hull_points_on_the_map_have_their_own_losses(experiment, policy):
    mode, evaluation = load_mode(experiment, 13), EvaluationSettings(bn_policy=policy)
    analysis = PlaneOfHull(num_samples=20, num_grid=4, margin=2.0, evaluation=evaluation)
    found = list(analysis.measure(mode, experiment.task))
    of_hull = list(ConvexMode(num_samples=20, evaluation=evaluation).measure(mode, experiment.task))
    for seed in range(5):
        own = table(found, branch=seed)
        assert own["plane_endpoint_loss"].value == table(of_hull, branch=seed, subset="train")["branch_loss"].value
        assert own.keys() == {"plane_endpoint_x", "plane_endpoint_y", "plane_endpoint_loss"}
    losses = [m.value for m in found if isinstance(m, Measurement) and m.quantity == "plane_hull_point_loss"]
    assert sum(losses) / 20 == pytest.approx(table(of_hull, subset="train")["hull_point_loss"].value)
    assert {m.index for m in found if isinstance(m, Measurement) and m.quantity == "plane_grid_loss"} == set(range(16))
    shares = [m.value for m in found if isinstance(m, Measurement) and m.quantity == "plane_direction_share"]
    assert table(found)["plane_share"].value == pytest.approx(sum(shares)) and 1 > sum(shares) > shares[0] >= shares[1]


def test_losses_of_the_grid_are_those_of_points_of_the_plane(experiment):
    mode, task = load_mode(experiment, 13), experiment.task
    found = list(PlaneOfHull(num_samples=3, num_grid=3).measure(mode, task))
    plane = principal_plane(mode.endpoints)
    evaluator = PointEvaluator(task.initialise(0), task.dataset.train)
    for index in range(9):
        own = table(found, index=index)
        place = torch.tensor([[own["plane_grid_x"].value, own["plane_grid_y"].value]], dtype=torch.float64)
        theta = hull_points(mode.endpoints, plane.coefficients(place))
        moved = theta[0].double() - mode.endpoints.double().mean(dim=0)
        assert float(moved.norm()) == pytest.approx(float(place.norm()), rel=1e-4)
        loss = evaluator.evaluate_on(task.dataset.train, mode.buffers)(theta, torch.ones(1, 5).double() / 5).loss
        assert own["plane_grid_loss"].value == pytest.approx(float(loss), rel=1e-5)


def test_the_split_is_on_the_map_with_its_own_loss(experiment):
    mode, task = load_mode(experiment, 13), experiment.task
    found = table(PlaneOfHull(num_samples=3, num_grid=2, evaluation=KEEP).measure(mode, task))
    state = mode.training.trunk.states[-1]
    module = task.initialise(0).eval()
    module.load_state_dict(mode.layout.unflatten(state.theta) | {name: v[0] for name, v in state.buffers.items()})
    inputs, targets = task.dataset.train.batch(slice(None))
    with torch.no_grad():
        loss = nn.functional.cross_entropy(module(inputs), targets)
    assert found["plane_split_loss"].value == pytest.approx(loss.item(), rel=1e-5)
    ends = mode.endpoints.double()
    away = (state.theta.double() - ends.mean(dim=0)).norm()
    assert torch.tensor([found[f"plane_split_{axis}"].value for axis in "xy"]).norm() <= away


KEEP = EvaluationSettings(bn_policy="keep")


def test_weights_from_elsewhere_have_no_split_and_two_endpoints_no_plane(experiment):
    mode, task = load_mode(experiment, 13), experiment.task
    elsewhere = Mode(mode.part, mode.endpoint_digests, task, mode.load_endpoints)
    found = list(PlaneOfHull(num_samples=3, num_grid=2).measure(elsewhere, task))
    assert LeftOut("the place and the loss of W_k") in found and "plane_split_x" not in table(found)
    of_two = list(PlaneOfHull(num_samples=3).measure(load_mode(experiment, 13, seeds=[0, 1]), task))
    assert of_two[-1] == Choice("plane", "none: these 2 endpoints lie on one line")
    assert not [each for each in of_two if isinstance(each, Measurement)]


def test_two_by_two_pairs_are_all_hulls_of_a_mode_of_four(experiment):
    mode = load_mode(experiment, 13, seeds=range(4))
    hulls = [m for m in Hulls(num_samples=3).measure(mode, experiment.task) if vars(m).get("index") is not None]
    assert len(hulls) == 2 * len(list(combinations(range(4), 2)))
