"""What is no number makes no row; what was never trained is no direction."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lmc_lab.analyses.base import Choice, Measurement
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.distances import Distances
from lmc_lab.analyses.estimates import mean
from lmc_lab.analyses.hessian import BranchHessian, TrunkHessian
from lmc_lab.analyses.hulls import Hulls
from lmc_lab.analyses.midpoint_gap import TrunkMidpointGap
from lmc_lab.analyses.pairs import Pairs
from lmc_lab.analyses.plane import PlaneOfHull
from lmc_lab.analyses.predictions import InterMode, Predictions
from lmc_lab.analyses.spectrum import Spectrum
from lmc_lab.errors import UserError
from lmc_lab.landscape.hull import matched_perturbations, sample_hull
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.modes import Modes
from lmc_lab.runs.states import load_trunk
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.point_evaluator import PointEvaluator
from tiny import tiny_experiment, train_branch


def half_frozen():
    """A frozen layer, and one that is not used."""
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3))
    model[0].requires_grad_(False)
    model[2].register_parameter("unused", nn.Parameter(torch.ones(4)))
    return model


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    tiny = tiny_experiment(tmp_path_factory.mktemp("numbers"))
    tiny = replace(tiny, task=replace(tiny.task, build_model=half_frozen))
    ensure_trunk(tiny, {13, 40})
    for seed in range(3):
        train_branch(tiny, 13, seed)
    return tiny


@pytest.fixture
def diverged(experiment):
    """A mode of which the second endpoint is NaN in all that was trained."""
    mode = load_mode(experiment, 13)
    mode.endpoints[1, 60:] = torch.nan
    return mode


OF_A_MODE = [
    ConvexMode(num_samples=5), Pairs(num_points=3), Predictions(), Spectrum(), BranchHessian(num_branches=2),
    Hulls(num_endpoints=2, num_samples=5), PlaneOfHull(num_samples=5, num_grid=2),
]  # fmt: skip


@pytest.mark.parametrize("analysis", OF_A_MODE)
def test_a_diverged_endpoint_makes_no_row(experiment, diverged, analysis):
    with pytest.raises(
        UserError, match="expected .* found (nan|NaN).*; those weights have diverged: train with a lower"
    ):
        list(analysis.measure(diverged, experiment.task))


def test_the_branch_that_diverged_is_named(experiment, diverged):
    with pytest.raises(UserError, match=r"found nan at endpoint 1 \(branch seed=1\), on the train set"):
        list(ConvexMode(num_samples=5).measure(diverged, experiment.task))
    with pytest.raises(UserError, match=r"endpoint 1 \(branch seed=1\)"):
        list(InterMode().measure(Modes((load_mode(experiment, 13), diverged)), experiment.task))


def test_states_that_diverged_make_no_row(experiment):
    trunk = load_trunk(experiment, [13])
    trunk.states[0].theta[60:] = torch.nan
    for analysis in (TrunkHessian(num_examples=50), TrunkMidpointGap(num_pairs=2, num_examples=80)):
        with pytest.raises(UserError, match="have diverged"):
            list(analysis.measure(trunk, experiment.task))


class Overflowing(Classification.__base__):
    """A loss that is infinite away from the endpoints, or no number."""

    value = torch.inf

    def per_example_loss(self, outputs, targets):
        is_endpoint = any(torch.equal(self.model[2].bias, bias) for bias in self.endpoints)
        return torch.full((len(outputs),), 1.0 if is_endpoint else self.value)

    def is_correct(self, outputs, targets):
        return None


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_an_infinite_loss_at_a_hull_point_is_a_loss_and_nan_is_none(experiment, value):
    mode = load_mode(experiment, 13)
    biases = [mode.layout.unflatten(theta)["model.2.bias"] for theta in mode.endpoints]
    kind = type("Mine", (Overflowing,), {"value": value, "endpoints": biases})
    task = replace(experiment.task, build_module=lambda model: kind(model, torch.optim.SGD))
    measured = ConvexMode(num_samples=5).measure(mode, task)
    if value == torch.inf:
        rows = {m.quantity: m for m in measured if isinstance(m, Measurement) and m.subset == "train"}
        assert rows["p_conv"].value == 0 and rows["endpoint_loss"].value == 1
        assert rows["hull_point_loss"].value == torch.inf and rows["hull_point_loss"].low is None
    else:
        with pytest.raises(UserError, match="found nan at hull point 0, on the train set; the endpoints are fine"):
            list(measured)


def test_what_was_never_trained_is_no_direction(experiment):
    mode = load_mode(experiment, 13)
    varying = mode.layout.unflatten(mode.layout.varying(mode.endpoints))
    assert {name: bool(part.all()) for name, part in varying.items()} == {
        "model.0.weight": False, "model.0.bias": False, "model.2.unused": False,
        "model.2.weight": True, "model.2.bias": True,
    }  # fmt: skip
    assert len(list(Distances(num_samples=4).measure(mode, experiment.task)))
    losses = {}
    for kind, movable in (("trained", mode.layout.varying(mode.endpoints)), ("all", None)):
        sample = sample_hull(mode.endpoints, 9, seed=0, movable=movable)
        losses[kind] = matched_perturbations(mode.endpoints, sample)
    moved = {kind: (points - mode.endpoints[0])[:, :48].any() for kind, points in losses.items()}
    assert moved == {"trained": False, "all": True}
    measured = ConvexMode(num_samples=9).measure(mode, experiment.task)
    (found,) = [m.value for m in measured if vars(m).get("quantity") == "perturbation_loss" and m.subset == "train"]
    evaluator = PointEvaluator(experiment.task.initialise(0), experiment.task.dataset.train)
    mixture = torch.eye(3, dtype=torch.float64)[[0] * 9]
    expected = evaluator.evaluate_on(experiment.task.dataset.train, mode.buffers)(
        losses["trained"], mixture
    ).loss.mean()
    assert found == pytest.approx(expected.item(), rel=1e-6)


def test_how_points_were_evaluated_is_said(experiment):
    mode = load_mode(experiment, 13)
    for analysis in (ConvexMode(num_samples=5), Pairs(num_points=3), Predictions()):
        choices = [item for item in analysis.measure(mode, experiment.task) if isinstance(item, Choice)]
        said = {"evaluation": "stacked", "device": "cpu", "examples": "200 train, 90 test"}
        assert choices == [Choice(name, value) for name, value in said.items()]


def test_an_infinite_mean_has_no_interval():
    found = mean("loss", torch.tensor([1.0, torch.inf]))
    assert found.value == torch.inf and found.low is None and found.high is None and found.num_samples == 2
