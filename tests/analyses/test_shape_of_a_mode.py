"""Barriers from the centre, layer by layer, and linearity of features, of trained branches."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from lmc_lab.analyses.base import Choice, Measurement
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.layers import FeatureLinearity, LayerBarriersOfMode
from lmc_lab.analyses.star import InterStar, Star
from lmc_lab.landscape.hull import hull_points, sample_hull
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.modes import Modes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from tiny import tiny_experiment, tiny_trunks, train_branch

KEPT = EvaluationSettings(bn_policy="keep")
LAYERS = ("model.0", "model.1", "model.4")


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    return tiny_trunks(tmp_path_factory.mktemp("tiny"))


def values(found, subset="train"):
    rows = [item for item in found if isinstance(item, Measurement) and item.subset == subset]
    return {row.quantity if row.index is None else (row.quantity, row.index): row for row in rows}


def losses(task, mode, thetas, coefficients):
    """Losses on the training set with the buffers that the policy `keep` gives."""
    evaluator = PointEvaluator(task.initialise(0), task.dataset.train, KEPT)
    return evaluator.evaluate_on(task.dataset.train, mode.buffers)(thetas, coefficients).loss


def test_barriers_of_a_star_are_those_of_its_lines(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    rows = values(Star(num_points=5, evaluation=KEPT).measure(mode, task))
    middle, vertices = torch.full((3,), 1 / 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    barriers, rises = [], []
    for end in range(3):
        own = torch.stack([(1 - t) * middle + t * vertices[end] for t in (0, 0.25, 0.5, 0.75, 1)])
        line = losses(task, mode, hull_points(mode.endpoints, own), own)
        chord = torch.tensor([(1 - t) * line[0] + t * line[-1] for t in (0, 0.25, 0.5, 0.75, 1)])
        barriers.append(float((line - chord).max()))
        rises.append(float(line.max() - line[-1]))
    row = rows["star_barrier_loss"]
    assert row.value == pytest.approx(sum(barriers) / 3, abs=1e-7) and row.num_samples == 3
    assert rows["max_star_barrier_loss"].value == pytest.approx(max(barriers), abs=1e-7)
    assert rows["star_rise_loss"].value == pytest.approx(sum(rises) / 3, abs=1e-7)
    assert rows["max_star_rise_loss"].value == pytest.approx(max(rises), abs=1e-7)
    assert {"star_barrier_error", "max_star_barrier_error", "star_rise_error"} <= set(rows)


def test_stars_of_other_hulls_begin_at_their_centres(trunks):
    modes, task = Modes(tuple(load_mode(trunk, 13) for trunk in trunks)), trunks[0].task
    rows = values(InterStar(num_points=3, num_endpoints=2, evaluation=KEPT).measure(modes, task))
    assert rows["inter_star_barrier_loss"].num_samples == 6 and rows["inter_pair_barrier_loss"].num_samples == 4
    ends = torch.cat([mode.endpoints for mode in modes])
    buffers = {name: torch.cat([mode.buffers[name] for mode in modes]) for name in modes.members[0].buffers}
    evaluator = PointEvaluator(task.initialise(0), task.dataset.train, KEPT)
    evaluate, vertices = evaluator.evaluate_on(task.dataset.train, buffers), torch.eye(6, dtype=torch.float64)
    centres = torch.tensor([[1 / 3] * 3 + [0] * 3, [0] * 3 + [1 / 3] * 3], dtype=torch.float64)

    def barrier(start, end):
        own = torch.stack([start, (start + end) / 2, end])
        line = evaluate(hull_points(ends, own), own).loss
        return max(float(line[1] - (line[0] + line[2]) / 2), 0)

    of_centres = [barrier(centres[hub], vertices[end]) for hub, end in [(0, 3), (0, 4), (0, 5), (1, 0), (1, 1), (1, 2)]]
    of_pairs = [barrier(vertices[one], vertices[other]) for one in (0, 1) for other in (3, 4)]
    assert rows["inter_star_barrier_loss"].value == pytest.approx(sum(of_centres) / 6, abs=1e-6)
    assert rows["max_inter_star_barrier_loss"].value == pytest.approx(max(of_centres), abs=1e-6)
    assert rows["inter_pair_barrier_loss"].value == pytest.approx(sum(of_pairs) / 4, abs=1e-6) and sum(of_pairs) > 0


def test_a_layer_barrier_is_that_of_points_with_one_layer_averaged(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    found = list(LayerBarriersOfMode(evaluation=KEPT).measure(mode, task))
    assert Choice("layers", ", ".join(LAYERS)) in found
    rows = values(found)
    named = mode.layout.unflatten(mode.endpoints)
    vertices = torch.eye(3, dtype=torch.float64)
    ends = losses(task, mode, mode.endpoints, vertices)
    for index, layer in enumerate(LAYERS, 1):
        barriers = []
        for i in range(3):
            for j in range(i):
                changed = {name: tensor[[i, j]].clone() for name, tensor in named.items()}
                for name, tensor in changed.items():
                    if name.startswith(f"{layer}."):
                        tensor[:] = tensor.mean(dim=0)
                both = losses(task, mode, mode.layout.flatten(changed), vertices[[i, j]])
                barriers.append(float((both.sum() - ends[i] - ends[j]) / 2))
        row = rows["layer_barrier", index]
        assert row.value == pytest.approx(sum(barriers) / 3, abs=1e-6) and row.num_samples == 3
    assert {("layer_barrier_random", index) for index in (1, 2, 3)} <= set(rows)


def features_by_hand(task, mode, theta, buffers, examples):
    """The results of each layer, taken by hooks."""
    module = task.initialise(0).eval()
    task.layout.load(module, theta, buffers)
    taken = []
    for name in LAYERS:
        module.get_submodule(name).register_forward_hook(lambda _, __, result: taken.append(result.double()))
    with torch.no_grad():
        module(examples.inputs)
    return taken


def test_features_deviate_as_they_do_by_hand(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    evaluation = EvaluationSettings(bn_policy="interpolate")
    found = list(FeatureLinearity(num_samples=2, num_examples=40, evaluation=evaluation).measure(mode, task))
    assert Choice("layers", ", ".join(LAYERS)) in found
    rows, examples = values(found), task.dataset.train.draw(40)
    drawn = sample_hull(mode.endpoints, 2, seed=0).coefficients

    def at(own):
        buffers = {
            name: torch.tensordot(own, each.double(), dims=1) if each.is_floating_point() else each[0]
            for name, each in mode.buffers.items()
        }
        return features_by_hand(task, mode, hull_points(mode.endpoints, own[None])[0], buffers, examples)

    ends = [at(own) for own in torch.eye(3, dtype=torch.float64)]
    cosine = partial(torch.cosine_similarity, dim=1)
    for index in range(3):
        of_points = [
            1 - cosine(at(own)[index], sum(a * end[index] for a, end in zip(own, ends, strict=True))).abs().mean()
            for own in drawn
        ]
        row = rows["feature_deviation_hull", index + 1]
        assert row.value == pytest.approx(float(sum(of_points) / 2), abs=1e-5) and row.num_samples == 2
        of_pairs = [1 - cosine(ends[i][index], ends[j][index]).abs().mean() for i in range(3) for j in range(i)]
        assert rows["feature_deviation_endpoints", index + 1].value == pytest.approx(float(sum(of_pairs) / 3), abs=1e-5)
    # The results of the first layer are linear in the parameters; those of the others are not.
    assert rows["feature_deviation_hull", 1].value < 1e-10 and rows["feature_deviation_halfway", 1].value < 1e-10
    assert rows["feature_deviation_hull", 3].value > 1e-8


def test_a_network_that_is_linear_in_its_parameters_has_linear_features_and_no_star(tmp_path):
    own = tiny_experiment(tmp_path)
    own = replace(own, task=replace(own.task, build_model=lambda: nn.Sequential(nn.Linear(2, 3))))
    for seed in range(3):
        train_branch(own, 13, seed)
    mode = load_mode(own, 13)
    rows = values(FeatureLinearity(num_samples=3).measure(mode, own.task))
    assert rows["feature_deviation_hull", 1].value < 1e-10
    star = values(Star(num_points=5).measure(mode, own.task))
    assert star["max_star_barrier_loss"].value == pytest.approx(0, abs=1e-6)  # its loss is convex
    assert values(ConvexMode(num_samples=5).measure(mode, own.task))["jensen_gap"].value < 0
