"""Branches from beside W_k: what a perturbation is, what is measured of pairs, and that a size of 0 is exactly nothing."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from lmc_lab.analyses.base import LeftOut, Measurement
from lmc_lab.analyses.perturbed import PerturbedBranches
from lmc_lab.landscape.half_point import half_point
from lmc_lab.landscape.lines import probe_lines
from lmc_lab.landscape.perturbation import deviations, gaussian, initial_length, scaled
from lmc_lab.runs.perturbation import moved_in, perturbed
from lmc_lab.runs.states import load_trunk
from lmc_lab.runs.subject import Request
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.runs.variation import Origin
from lmc_lab.runs.varied_modes import VariedModes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.regression import Regression
from tiny import tiny_experiment, train_branch, variants

KEPT = EvaluationSettings(bn_policy="keep")
SIGMAS = (0.0, 0.5, 20.0)
ANALYSIS = PerturbedBranches(sigmas=SIGMAS, kinds=("gaussian", "gradient"), num_points=5, evaluation=KEPT)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    experiment = tiny_experiment(tmp_path_factory.mktemp("tiny"))
    for each in (experiment, *variants(experiment, ANALYSIS)):
        for seed in range(3):
            train_branch(each, 13, seed)
    return experiment


@pytest.fixture(scope="module")
def modes(experiment):
    return VariedModes.load(experiment, Request(split_steps=(13,), varied=variants(experiment, ANALYSIS)))


@pytest.fixture(scope="module")
def found(modes, experiment):
    return list(ANALYSIS.measure(modes, experiment.task))


def rows(found, subset="train"):
    own = [item for item in found if isinstance(item, Measurement) and item.subset in (None, subset)]
    return {(row.quantity, row.index): row for row in own}


def test_noise_has_the_deviation_and_the_length_of_the_initialisation():
    initial = {"wide": 3 * torch.randn(300, 200) + 5, "narrow": 0.1 * torch.randn(100, 400), "flat": torch.ones(7, 2)}
    noise = gaussian(initial, torch.Generator().manual_seed(0))
    for name, deviation in deviations(initial).items():
        assert float(noise[name].std(correction=0)) == pytest.approx(deviation, rel=0.02)
    squares = sum(float((value.double() - value.double().mean()).square().sum()) for value in initial.values())
    assert initial_length(initial) == pytest.approx(squares**0.5) and not noise["flat"].any()
    moved = scaled(noise, 0.7)
    assert float(torch.cat([value.flatten() for value in moved.values()]).norm()) == pytest.approx(0.7, rel=1e-12)
    ratio = moved["wide"] / noise["wide"]
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio))
    assert scaled({"none": torch.zeros(2)}, 1.0)["none"].tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["gaussian", "gradient"])
def test_a_branch_starts_as_far_from_its_split_as_sigma_says(experiment, kind):
    ensure_trunk(experiment, {13})
    state = load_trunk(experiment, [13]).states[0]
    weights = experiment.task.layout.parameters.unflatten(state.theta)
    weights |= {name: values[0] for name, values in state.buffers.items()}
    initial = moved_in(experiment.task, 0)
    assert [value.dim() for value in initial.values()] == [2, 2]

    def steps(sigma, branch=0, seed=0):
        origin = Origin(experiment.task, 0, 13, branch, experiment.task.batch_size)
        moved = perturbed(weights, origin, sigma=sigma, kind=kind, seed=seed)
        assert all(torch.equal(moved[name], weights[name]) for name in weights.keys() - initial.keys())
        return torch.cat([(moved[name] - weights[name].double()).flatten() for name in initial])

    first = steps(0.25)
    assert float(first.norm()) == pytest.approx(0.25 * initial_length(initial), rel=1e-12)
    assert not steps(0.0).any()
    torch.testing.assert_close(steps(1.0), 4 * first)
    others = [steps(0.25, branch=1), steps(0.25, seed=1), steps(0.25, branch="trunk")]
    assert all(float(torch.cosine_similarity(first, each, dim=0)) < 0.999 for each in others)


def test_the_gradient_is_that_of_a_batch_at_the_split(tmp_path):
    """A batch of all examples has a gradient that does not depend on which batch it is."""
    task = tiny_experiment(tmp_path).task
    task = replace(task, build_model=lambda: nn.Linear(2, 3), batch_size=len(task.dataset.train), precision="64-true")
    weights = {name: value.double() + 0.1 for name, value in task.initialise(0).state_dict().items()}
    module = task.initialise(0).double()
    module.load_state_dict(weights)
    train = task.dataset.train
    nn.functional.cross_entropy(module(train.inputs.double()), train.targets).backward()
    (name,) = moved_in(task, 0)
    moved = (
        perturbed(weights, Origin(task, 0, 13, 2, task.batch_size), sigma=0.3, kind="gradient")[name] - weights[name]
    )
    gradient = dict(module.named_parameters())[name].grad
    expected = 0.3 * initial_length(moved_in(task, 0)) * gradient / gradient.norm()
    torch.testing.assert_close(moved, expected, rtol=1e-9, atol=1e-12)


def test_a_size_of_zero_gives_exactly_zero(modes, found):
    for number in (0, 3):
        assert torch.equal(modes.varied[number].endpoints, modes.mode.endpoints)
    for subset in ("train", "test"):
        own = rows(found, subset)
        for kind in ("gaussian", "gradient"):
            names = ("distance", "barrier_loss", "instability_loss", "barrier_error", "instability_error")
            assert all(own[f"{kind}_{name}", 0].value == 0 for name in names)
            assert own[f"p_{kind}_barrier", 0].value == 0


def test_rows_are_those_of_pairs_of_one_seed(modes, found, experiment):
    task, own = experiment.task, rows(found)
    evaluator = PointEvaluator(task.initialise(0), task.dataset.train, KEPT)
    for place, kind in enumerate(("gaussian", "gradient")):
        for number in (1, 2):
            varied = modes.varied[3 * place + number]
            lines = []
            for i in range(3):
                pair = torch.stack([modes.mode.endpoints[i], varied.endpoints[i]])
                buffers = {
                    name: torch.stack([modes.mode.buffers[name][i], varied.buffers[name][i]]) for name in varied.buffers
                }
                lines.append(probe_lines(evaluator.evaluate_on(task.dataset.train, buffers), pair, num_points=5)[0, 1])
            barriers, errors = [line.loss.barrier for line in lines], [line.error.instability for line in lines]
            assert own[f"{kind}_barrier_loss", number].value == pytest.approx(sum(barriers) / 3, abs=1e-6)
            assert own[f"{kind}_instability_error", number].value == pytest.approx(sum(errors) / 3, abs=1e-6)
            assert own[f"p_{kind}_barrier", number].value == pytest.approx(sum(each > 0.02 for each in errors) / 3)
            losses = evaluator.evaluate_on(task.dataset.train, varied.buffers)(
                varied.endpoints, torch.eye(3, dtype=torch.float64)
            ).loss
            assert own[f"{kind}_endpoint_loss", number].value == pytest.approx(float(losses.mean()), abs=1e-6)
            distances = (varied.endpoints - modes.mode.endpoints).double().norm(dim=1)
            assert own[f"{kind}_distance", number].value == pytest.approx(float(distances.mean()), rel=1e-6)
    unit = initial_length(moved_in(task, 0))
    assert [own["perturbation_size", i].value for i in range(3)] == list(SIGMAS)
    assert own["perturbation_length", 1].value == pytest.approx(0.5 * unit)


def test_sigma_50_is_the_half_point_of_the_shares_without_the_control(found):
    own = rows(found)
    for kind in ("gaussian", "gradient"):
        counts = [round(3 * own[f"p_{kind}_barrier", i].value) for i in (1, 2)]
        sizes = torch.tensor(SIGMAS[1:]).repeat_interleave(3)
        expected = half_point(sizes, torch.tensor([j < count for count in counts for j in range(3)]))
        row = own.get((f"{kind}_sigma_50", None))
        assert (row is None) == (expected is None)
        if row is not None:
            assert (row.value, row.low, row.high) == pytest.approx((expected.value, expected.low, expected.high))
            assert row.num_samples == 6


def test_a_task_without_right_and_wrong_has_distances_and_barriers_in_loss_alone(tmp_path):
    still = tiny_experiment(tmp_path).task

    def regression(model):
        return Regression(model, partial(torch.optim.SGD, lr=0.01))

    data = replace(still.dataset, train=_with_values(still.dataset.train), test=_with_values(still.dataset.test))
    task = replace(still, build_model=lambda: nn.Linear(2, 3), build_module=regression, load_data=lambda: data)
    experiment = replace(tiny_experiment(tmp_path), task=task)
    analysis = PerturbedBranches(sigmas=(0.1, 0.5), kinds=("gradient",), num_points=3, evaluation=KEPT)
    varied = variants(experiment, analysis)
    for each in (experiment, *varied):
        for seed in range(2):
            train_branch(each, 13, seed)
    modes = VariedModes.load(experiment, Request(split_steps=(13,), varied=varied))
    found = list(analysis.measure(modes, task))
    names = {item.quantity for item in found if isinstance(item, Measurement)}
    assert {"gradient_distance", "gradient_barrier_loss"} <= names and "p_gradient_barrier" not in names
    assert sum(isinstance(item, LeftOut) and "right and wrong" in str(item) for item in found) == 2


def _with_values(examples):
    return replace(examples, targets=nn.functional.one_hot(examples.targets, 3).float())


def test_branches_are_known_by_kind_size_and_seed():
    starts = [each["start"] for each in PerturbedBranches(sigmas=(1, 2), kinds=("gradient",), seed=5).variations]
    target = "lmc_lab.runs.perturbation.perturbed"
    assert starts == [
        {"_target_": target, "sigma": sigma, "kind": "gradient", "seed": seed} for sigma, seed in ((1.0, 5), (2.0, 6))
    ]
