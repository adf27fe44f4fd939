"""Neurons of trained endpoints put into one order: what follows for their hull, and what is said where that cannot be."""

from dataclasses import replace

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from lmc_lab.analyses.alignments import Aligner
from lmc_lab.analyses.base import LeftOut, Measurement
from lmc_lab.analyses.corners import Corners
from lmc_lab.analyses.inter_alignment import InterAlignment
from lmc_lab.analyses.predictions import InterMode
from lmc_lab.landscape.hull import hull_points, probe_hull, sample_hull
from lmc_lab.landscape.permutations import Block, permuted, random_permutation
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.modes import Modes
from lmc_lab.stacked.units import permutable_blocks
from lmc_lab.tasks import permutations
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.layer_outputs import LayerOutputs
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.state_dicts import Endpoints
from tiny import tiny_experiment, tiny_trunks, train_branch

KEPT = EvaluationSettings(bn_policy="keep")
HULL_WAYS = ("none", "centres", "endpoints", "jointly", "activations", "split")
BY_WEIGHTS = ("by_centres", "by_endpoints", "jointly")


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    return tiny_trunks(tmp_path_factory.mktemp("tiny"))


def modes_of(trunks):
    return Modes(tuple(load_mode(trunk, 13) for trunk in trunks))


def copy_of(mode, seed=5):
    """The mode with the neurons of all endpoints in another order, as weights from elsewhere."""
    blocks = permutable_blocks(mode.task.initialise(0))
    (order,) = random_permutation(blocks, generator=torch.Generator().manual_seed(seed))
    corners = Corners.of(Modes((mode,))).permuted(mode.layout, blocks, [[order]] * len(mode))
    ends = Endpoints(corners.thetas, dict(corners.buffers))
    return replace(mode, load_endpoints=lambda: ends, training=None), order


def rows(found, subset="train"):
    return {item.quantity: item for item in found if isinstance(item, Measurement) and item.subset in (subset, None)}


def aligner_of(modes):
    task = modes.members[0].task
    return Aligner(Corners.of(modes), task.layout.parameters, permutable_blocks(task.initialise(0)), seed=0)


@pytest.mark.parametrize("way", BY_WEIGHTS)
def test_a_permuted_copy_of_a_mode_aligns_back_exactly(trunks, way):
    mode = load_mode(trunks[0], 13)
    copies = [copy_of(mode, seed)[0] for seed in (5, 6)]
    assert not any(torch.equal(copy.endpoints, mode.endpoints) for copy in copies)
    aligner = aligner_of(Modes((mode, *copies)))
    aligned = aligner.aligned(getattr(aligner, way)())
    both = [(aligned.thetas, mode.endpoints), *((aligned.buffers[name], mode.buffers[name]) for name in mode.buffers)]
    for found, known in both:
        assert all(torch.equal(part, known) for part in found.split(len(mode)))


def test_a_permuted_copy_of_a_mode_aligns_back_by_its_activations_and_by_a_pair(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    copy, order = copy_of(mode)
    aligner = aligner_of(Modes((mode, copy)))
    module, train = task.initialise(0), task.dataset.train
    evaluator = PointEvaluator(module, train, KEPT)
    orders = aligner.by_activations(evaluator, LayerOutputs(module, train.batch(slice(0, 2))[0]), train.draw(50))
    assert all(torch.equal(found, order.argsort()) for (found,) in orders[3:])
    pair = aligner.pair(1, 4)  # an endpoint and its own copy
    assert torch.equal(*pair.thetas) and all(torch.equal(*values) for values in pair.buffers.values())


def results_at_centre(mode, layer, examples):
    """What a layer gives at the centre, with the first endpoint's moments, as the policy `keep` has it; by a hook."""
    own, taken = mode.task.initialise(0).eval(), []
    centre = mode.endpoints.double().mean(dim=0)
    mode.task.layout.load(own, centre, {name: each[0] for name, each in mode.buffers.items()})
    own.get_submodule(layer).register_forward_hook(lambda _, __, result: taken.append(result.double()))
    with torch.no_grad():
        own(examples.inputs)
    return taken[0]


def test_activations_are_those_of_the_centres(trunks):
    modes, task = modes_of(trunks), trunks[0].task
    aligner, train = aligner_of(modes), task.dataset.train
    module = task.initialise(0).eval()
    examples = train.draw(40)
    evaluator = PointEvaluator(module, train, KEPT)
    (found,) = aligner.by_activations(evaluator, LayerOutputs(module, train.batch(slice(0, 2))[0]), examples)[3]
    scores = torch.zeros(16, 16, dtype=torch.float64)
    for layer in ("model.0", "model.1"):
        first, second = (results_at_centre(mode, layer, examples) for mode in modes)
        scores += first.T @ second
    kept, best = (float(scores[torch.arange(16), order].sum()) for order in (torch.arange(16), found))
    lines, columns = linear_sum_assignment(scores.numpy(), maximize=True)
    assert best == pytest.approx(float(scores[lines, columns].sum()), rel=1e-5) and best > kept


@pytest.mark.parametrize("policy", ["reestimate", "interpolate", "keep"])
def test_a_copy_that_is_aligned_has_the_rows_of_the_mode_twice(trunks, policy):
    evaluation = EvaluationSettings(bn_policy=policy)
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    copy, _ = copy_of(mode)
    found = list(InterAlignment(num_samples=20, num_points=3, evaluation=evaluation).measure(Modes((mode, copy)), task))
    assert LeftOut("alignment by weights at the split") in found
    own = rows(found)
    twice = torch.cat([mode.endpoints, mode.endpoints])
    buffers = {name: torch.cat([values, values]) for name, values in mode.buffers.items()}
    evaluator = PointEvaluator(task.initialise(0), task.dataset.train, evaluation)
    evaluate = evaluator.evaluate_on(task.dataset.train, buffers)
    sample = sample_hull(twice, 20, seed=0, movable=mode.layout.varying(twice))
    probe = probe_hull(evaluate, twice, sample)
    for way in ("centres", "endpoints", "jointly", "activations"):
        assert own[f"p_conv_union_{way}"].value == probe.p_conv.value and own[f"p_conv_union_{way}"].num_samples == 20
        assert own[f"p_rand_union_{way}"].value == probe.p_rand.value
        assert own[f"centre_loss_union_{way}"].value == pytest.approx(float(probe.centre.loss), abs=1e-7)
        assert own[f"jensen_gap_union_{way}"].value == pytest.approx(float(probe.jensen_gap.mean()), abs=1e-7)
    assert "p_conv_union_split" not in own and "p_conv_union_pairs" not in own
    # Lines between endpoints of the two modes are those inside one, and from each to itself.
    vertices = torch.eye(6, dtype=torch.float64)
    barriers, lengths = [], []
    for one in range(3):
        for other in range(3, 6):
            own_coefficients = torch.stack([vertices[one], (vertices[one] + vertices[other]) / 2, vertices[other]])
            line = evaluate(hull_points(twice, own_coefficients), own_coefficients).loss
            barriers.append(max(float(line[1] - (line[0] + line[2]) / 2), 0))
            lengths.append(float((twice[one].double() - twice[other].double()).norm()))
    for way in ("centres", "jointly"):
        assert own[f"barrier_loss_union_{way}"].value == pytest.approx(sum(barriers) / 9, abs=1e-6)
        assert own[f"max_barrier_loss_union_{way}"].value == pytest.approx(max(barriers), abs=1e-6)
        assert own[f"distance_union_{way}"].value == pytest.approx(sum(lengths) / 9, rel=1e-6)
    assert own["distance_union_none"].value > 1.5 * own["distance_union_centres"].value


def test_orders_change_no_function_and_shorten_distances(trunks):
    modes, task = modes_of(trunks), trunks[0].task
    analysis = InterAlignment(num_samples=5, num_points=3, num_endpoints=2, num_examples=50, evaluation=KEPT)
    found = list(analysis.measure(modes, task))
    measured = list(InterMode(evaluation=KEPT).measure(modes, task))
    shared = {subset: rows(measured, subset)["inter_mode"].value for subset in ("train", "test")}
    for subset in ("train", "test"):
        own = rows(found, subset)
        for way in HULL_WAYS:
            assert own[f"shared_correct_union_{way}"].value == shared[subset]
            assert 0 <= own[f"centre_right_union_{way}"].value <= 1
            assert {f"p_conv_union_{way}", f"p_rand_union_{way}", f"barrier_error_union_{way}"} <= set(own)
        assert own["barrier_loss_union_pairs"].num_samples == own["barrier_loss_union_none"].num_samples == 4
    for way in ("centres", "endpoints", "jointly", "pairs"):
        assert own[f"distance_union_{way}"].value < own["distance_union_none"].value


def test_at_the_split_the_weights_there_are_matched(trunks):
    modes = modes_of(trunks)
    aligner = aligner_of(modes)
    first, second = (mode.training.at_split for mode in modes)
    orders = aligner.by_points(torch.stack([first, second]))
    assert orders[0][0].tolist() == list(range(16)) and torch.equal(orders[3][0], orders[5][0])
    layout, blocks = aligner.layout, aligner.blocks
    moved = layout.flatten(permuted(layout.unflatten(second), blocks, orders[3]))
    swapped = orders[3][0].clone()
    swapped[:2] = swapped[:2].flip(0)
    worse = layout.flatten(permuted(layout.unflatten(second), blocks, [swapped]))
    assert (moved - first).norm() < min((second - first).norm(), (worse - first).norm())


def with_model(experiment, build_model):
    return replace(experiment, task=replace(experiment.task, build_model=build_model))


def test_a_model_that_is_not_understood_is_measured_as_it_is(tmp_path):
    own = with_model(tiny_experiment(tmp_path), lambda: nn.Sequential(nn.Linear(2, 5), nn.Softmax(1), nn.Linear(5, 3)))
    for seed in range(2):
        train_branch(own, 13, seed)
    mode = load_mode(own, 13)
    found = list(InterAlignment(num_samples=5, num_points=3).measure(Modes((mode, mode)), own.task))
    assert {"p_conv_union_none", "barrier_loss_union_none"} <= rows(found).keys()
    assert all(name.endswith("_union_none") for name in rows(found))
    (said,) = (item for item in found if isinstance(item, LeftOut))
    assert str(said) == (
        "alignment of neurons, since the model has Softmax (model.1): what it does to the order of neurons is not known"
    )


def test_a_wrong_tie_is_seen_before_anything_is_aligned(trunks, monkeypatch):
    modes, task = modes_of(trunks), trunks[0].task
    (block,) = permutable_blocks(task.initialise(0))
    monkeypatch.setattr(permutations, "permutable_blocks", lambda module: [Block(block.axes[1:])])
    *_, said = InterAlignment(num_samples=5, num_points=3).measure(modes, task)
    assert "as it was traced, computes something else" in said.why
