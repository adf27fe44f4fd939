"""The measurements behind Figures 3 to 6 and the pairs, on trained branches of a tiny task, against slow ways."""

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lmc_lab.analyses.base import Measurement, Record
from lmc_lab.analyses.curves import BranchCurves, TrunkCurve
from lmc_lab.analyses.hessian import BranchHessian, TrunkHessian
from lmc_lab.analyses.midpoint_gap import TrunkMidpointGap, candidate_update
from lmc_lab.analyses.pairs import Pairs
from lmc_lab.analyses.predictions import InterMode, Predictions
from lmc_lab.analyses.spectrum import Spectrum
from lmc_lab.data.order import DataOrder, Role
from lmc_lab.errors import UserError
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.landscape.predictions import unpack_mask
from lmc_lab.runs.curve import read_rows
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.experiment import RunSettings
from lmc_lab.runs.modes import Modes
from lmc_lab.runs.states import RunState, load_trunk
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from tiny import clouds, tiny_experiment, train_branch

KEEP = EvaluationSettings(bn_policy="keep")


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    """Two trunks to their end, three branches each."""
    folder = tmp_path_factory.mktemp("tiny")
    trunks = [tiny_experiment(folder, trunk_seed=seed) for seed in range(2)]
    for experiment in trunks:
        ensure_trunk(experiment, {13, 40})
        for seed in range(3):
            train_branch(experiment, 13, seed)
    return trunks


def measured(answer):
    """The measurements of an answer, without what else it says."""
    return [item for item in answer if isinstance(item, Measurement)]


def values(found, quantity, **where):
    rows = [m for m in found if isinstance(m, Measurement) and m.quantity == quantity]
    return [m.value for m in rows if all(getattr(m, name) == value for name, value in where.items())]


def outputs_at(experiment, mode, theta, buffers, examples):
    """The model's outputs in eval mode, by loading the point into it."""
    model = experiment.task.initialise(0).eval()
    model.load_state_dict(mode.layout.unflatten(theta) | buffers)
    with torch.no_grad():
        return model(examples.batch(slice(None))[0])


def endpoint_outputs(experiment, mode, examples):
    return [
        outputs_at(experiment, mode, theta, {name: v[i] for name, v in mode.buffers.items()}, examples)
        for i, theta in enumerate(mode.endpoints)
    ]


def test_spectrum_holds_all_singular_values_and_the_number_of_outputs(experiments):
    mode = load_mode(experiments[0], 13)
    found = list(Spectrum().measure(mode, experiments[0].task))
    raw = torch.linalg.svdvals(mode.endpoints.double())
    assert values(found, "singular_value_raw") == pytest.approx(raw.tolist(), rel=1e-6)
    centred = torch.linalg.svdvals(mode.endpoints.double() - mode.endpoints.double().mean(0))
    assert values(found, "singular_value_centred")[:2] == pytest.approx(centred.tolist()[:2], rel=1e-6)
    assert values(found, "num_outputs") == [3]


def test_barriers_and_instabilities_are_those_of_every_line(experiments):
    mode, task = load_mode(experiments[0], 13), experiments[0].task
    found = list(Pairs(num_points=5, evaluation=KEEP).measure(mode, task))
    examples = task.dataset.train
    barriers, instabilities = [], []
    for i, j in combinations(range(3), 2):
        losses = []
        for t in torch.linspace(0, 1, 5, dtype=torch.float64):
            theta = ((1 - t) * mode.endpoints[i].double() + t * mode.endpoints[j].double()).float()
            nearest = i if t <= 0.5 else j  # "keep": the moments of the endpoint with the larger weight
            buffers = {name: v[nearest] for name, v in mode.buffers.items()}
            outputs = outputs_at(experiments[0], mode, theta, buffers, examples)
            losses.append(torch.nn.functional.cross_entropy(outputs.double(), examples.targets).item())
        chords = [losses[0] + t / 4 * (losses[-1] - losses[0]) for t in range(5)]
        barriers.append(max(loss - chord for loss, chord in zip(losses, chords, strict=True)))
        instabilities.append(max(losses) - (losses[0] + losses[-1]) / 2)
    assert values(found, "barrier_loss", subset="train") == pytest.approx([sum(barriers) / 3], abs=1e-6)
    assert values(found, "instability_loss", subset="train") == pytest.approx([sum(instabilities) / 3], abs=1e-6)
    assert values(found, "max_barrier_loss", subset="train") == pytest.approx([max(barriers)], abs=1e-6)


def test_shared_predictions_are_intersections_of_sets(experiments):
    modes = [load_mode(experiment, 13) for experiment in experiments]
    task, examples = experiments[0].task, clouds()
    sets = [
        [
            set((out.argmax(1) == examples.targets).nonzero().flatten().tolist())
            for out in endpoint_outputs(e, mode, examples)
        ]
        for e, mode in zip(experiments, modes, strict=True)
    ]
    found = list(Predictions(evaluation=KEEP).measure(modes[0], task))
    inside = [set.intersection(*of_mode) for of_mode in sets]
    assert values(found, "intra_mode", subset="train") == [len(inside[0]) / 200]
    pairs = [len(a & b) / 200 for a, b in combinations(sets[0], 2)]
    assert values(found, "shared_correct", subset="train", index=2) == pytest.approx([sum(pairs) / 3])
    (record,) = [item for item in found if isinstance(item, Record) and item.name == "train_correct"]
    masks = unpack_mask(record.tensor, 200)
    assert [set(mask.nonzero().flatten().tolist()) for mask in masks] == sets[0]
    joint = list(InterMode(num_draws=7, evaluation=KEEP).measure(Modes(tuple(modes)), task))
    assert values(joint, "inter_mode", subset="train") == [len(inside[0] & inside[1]) / 200]
    (control,) = values(joint, "equal_count_control", subset="train")
    assert len(inside[0] & inside[1]) / 200 <= control <= 1


def test_examples_that_all_and_not_all_endpoints_have_right_are_kept(experiments):
    mode, task = load_mode(experiments[0], 13), experiments[0].task
    records = {}
    for settings in ({"num_examples": 5}, {}, {"num_examples": 0}):
        found = Predictions(evaluation=KEEP, **settings).measure(mode, task)
        records[settings.get("num_examples", 64)] = {r.name: r.tensor for r in found if isinstance(r, Record)}
    for subset, examples in task.dataset.subsets.items():
        own = {name: tensor for name, tensor in records[5].items() if name.startswith(subset)}
        index, masks = own[f"{subset}_examples_index"], unpack_mask(own[f"{subset}_correct"], len(examples))
        assert own[f"{subset}_examples"].equal(examples.inputs[index])
        assert own[f"{subset}_examples_target"].equal(examples.targets[index])
        num_right = own[f"{subset}_examples_num_right"]
        assert num_right.equal(masks[:, index].sum(dim=0)) and (num_right == 3).tolist() == [True] * 5 + [False] * 5
    assert (records[64]["train_examples_num_right"] == 3).sum() == 64
    assert records[0].keys() == {"train_correct", "test_correct"}


def test_curves_are_the_rows_of_the_runs(experiments):
    trunk, mode = load_trunk(experiments[0]), load_mode(experiments[0], 13)
    first, *found = measured(TrunkCurve(evaluation=KEEP).measure(trunk, experiments[0].task))
    rows = read_rows(experiments[0].trunk_folder.metrics)
    module, train = experiments[0].task.initialise(0).eval(), experiments[0].task.dataset.train
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.train().momentum = 1.0  # one pass takes the moments of the batch, here of all examples
    module(train.inputs)
    module.eval()
    loss = F.cross_entropy(module(train.inputs), train.targets).item()
    assert (first.quantity, first.step, first.value) == ("initial_loss", 0, pytest.approx(loss, rel=1e-6))
    assert [(m.step, m.value) for m in found] == [(int(row["step"]), float(row["train_loss"])) for row in rows]
    branches = list(BranchCurves().measure(mode, experiments[0].task))
    assert {m.branch for m in branches} == {0, 1, 2} and max(m.step for m in branches) == 40


def dense_hessian(experiment, state, examples):
    module = experiment.task.initialise(0).eval().double()
    layout = ParameterLayout.of(dict(module.named_parameters()))
    buffers = {name: v[0].double() if v.is_floating_point() else v[0] for name, v in state.buffers.items()}
    inputs, targets = examples.inputs.double(), examples.targets

    def loss(theta):
        outputs = torch.func.functional_call(module, layout.unflatten(theta) | buffers, (inputs,))
        return torch.nn.functional.cross_entropy(outputs, targets)

    return torch.autograd.functional.hessian(loss, state.theta.double())


@pytest.mark.parametrize("method", ["lanczos", "power"])
def test_hessian_ends_are_those_of_the_dense_matrix_at_every_saved_state(experiments, method):
    trunk = load_trunk(experiments[0])
    settings = {"num_examples": 120, "tolerance": 1e-4, "max_products": 2000, "method": method, "evaluation": KEEP}
    found = measured(TrunkHessian(**settings).measure(trunk, experiments[0].task))
    for state in trunk.states:
        ends = torch.linalg.eigvalsh(dense_hessian(experiments[0], state, clouds().draw(120)))[[0, -1]]
        assert values(found, "lambda_max", step=state.step) == pytest.approx([ends[1].item()], rel=2e-3)
        assert values(found, "lambda_min", step=state.step) == pytest.approx([ends[0].item()], rel=2e-2, abs=1e-4)
        if method == "lanczos":
            assert values(found, "is_converged", step=state.step) == [1]
    assert {m.step for m in found} == {0, 13, 40}


def test_the_hessian_of_branches_is_taken_at_their_endpoints(experiments):
    mode = load_mode(experiments[0], 13)
    settings = {"num_branches": 2, "num_examples": 100, "tolerance": 1e-4, "evaluation": KEEP}
    found = measured(BranchHessian(**settings).measure(mode, experiments[0].task))
    assert {(m.branch, m.step) for m in found} == {(0, 40), (1, 40)}
    for branch in range(2):
        buffers = {name: values[branch : branch + 1] for name, values in mode.buffers.items()}
        state = RunState(40, mode.endpoints[branch], buffers, {}, "")
        ends = torch.linalg.eigvalsh(dense_hessian(experiments[0], state, clouds().draw(100)))[[0, -1]]
        assert values(found, "lambda_max", branch=branch) == pytest.approx([ends[1].item()], rel=2e-3)
        assert values(found, "lambda_min", branch=branch) == pytest.approx([ends[0].item()], rel=2e-2, abs=1e-4)
    without_graph = measured(BranchHessian(**settings, keep_graph=False).measure(mode, experiments[0].task))
    assert [m.value for m in without_graph] == pytest.approx([m.value for m in found], rel=1e-3, abs=1e-4)
    assert BranchHessian(keep_graph=False).settings() == BranchHessian().settings()


@pytest.mark.parametrize(
    ("analysis", "given", "words"),
    [
        (
            TrunkHessian,
            {"method": "lanczo"},
            "trunk_hessian.method to be one of .*, found 'lanczo'; did you mean 'lanczos'",
        ),
        (BranchHessian, {"num_branches": 0}, "branch_hessian.num_branches to be a whole number >= 1, found 0"),
        (
            TrunkMidpointGap,
            {"steps": [-1]},
            "trunk_midpoint_gap.steps to be a list in which each is a whole number >= 0",
        ),
    ],
)
def test_an_analysis_refuses_settings_that_cannot_be_whoever_makes_it(analysis, given, words):
    with pytest.raises(UserError, match=f"expected analysis.{words}"):
        analysis(**given)


def test_a_candidate_update_is_what_the_optimizer_does_from_its_state(experiments):
    """With momentum: the same step taken by hand from the checkpoint's buffers."""
    experiment = experiments[0]
    state = load_trunk(experiment).states[1]
    task, examples = experiment.task, clouds()
    found = candidate_update(task, 0, state, examples, seed=5)
    module = task.initialise(0)
    layout = ParameterLayout.of(dict(module.named_parameters()))
    module.load_state_dict(layout.unflatten(state.theta) | {name: v[0] for name, v in state.buffers.items()})
    order = DataOrder(Role.CANDIDATE, 0, 5, len(examples), task.batch_size)
    torch.manual_seed(order.noise_seed(state.step))
    loss = module.training_loss(examples.batch(order.indices(state.step)))
    gradients = layout.flatten(
        dict(zip(layout.names, torch.autograd.grad(loss, list(module.parameters())), strict=True))
    )
    momenta = [state.optimizer["state"][i]["momentum_buffer"] for i in range(len(layout.names))]
    momentum = layout.flatten(dict(zip(layout.names, momenta, strict=True)))
    torch.testing.assert_close(found, state.theta - 0.05 * (0.9 * momentum + gradients))
    assert not torch.equal(found, candidate_update(task, 0, state, examples, seed=6))


def gaps_by_hand(experiment, state, *, num_pairs, num_examples):
    """L at the mean of two updates, less the mean of their losses, on examples outside both batches."""
    task, examples = experiment.task, clouds()
    module = task.initialise(0).eval().double()
    layout = ParameterLayout.of(dict(module.named_parameters()))
    buffers = {name: v[0].double() if v.is_floating_point() else v[0] for name, v in state.buffers.items()}
    held_out = examples.draw(num_examples)

    def loss(theta):
        outputs = torch.func.functional_call(module, layout.unflatten(theta) | buffers, (held_out.inputs.double(),))
        return torch.nn.functional.cross_entropy(outputs, held_out.targets).item()

    def update(seed):
        return candidate_update(task, 0, state, examples.undrawn(num_examples), seed).double()

    pairs = [(update(2 * pair), update(2 * pair + 1)) for pair in range(num_pairs)]
    with torch.no_grad():
        return [loss((a + b) / 2) - (loss(a) + loss(b)) / 2 for a, b in pairs]


def test_midpoint_gaps_are_counted_at_every_state(experiments):
    trunk = load_trunk(experiments[0])
    found = list(TrunkMidpointGap(num_pairs=6, num_examples=80, evaluation=KEEP).measure(trunk, experiments[0].task))
    found = [m for m in found if isinstance(m, Measurement)]
    assert [m.step for m in found if m.quantity == "p_gap_negative"] == [0, 13, 40]
    assert values(found, "p_gap_resolved") == [1, 1, 1]
    for m in found:
        if m.quantity == "p_gap_negative":
            assert m.num_samples == 6 and m.low <= m.value <= m.high
    for state in trunk.states:
        gaps = gaps_by_hand(experiments[0], state, num_pairs=6, num_examples=80)
        assert values(found, "midpoint_gap", step=state.step) == pytest.approx([sum(gaps) / 6], rel=1e-6)
        assert values(found, "p_gap_negative", step=state.step) == [sum(gap < 0 for gap in gaps) / 6]


def test_states_are_chosen_by_step(experiments):
    trunk = load_trunk(experiments[0], steps=[13])
    found = measured(TrunkHessian(num_examples=50, evaluation=KEEP).measure(trunk, experiments[0].task))
    assert {m.step for m in found} == {13}
    with pytest.raises(UserError, match=r"expected the state at step 14 .* found none; .*'run.save_steps=\[14\]'"):
        load_trunk(experiments[0], steps=[13, 14])


def test_a_curve_needs_no_states(experiments):
    trunk = load_trunk(experiments[0], TrunkCurve().steps)
    assert trunk.states == () and list(TrunkCurve().measure(trunk, experiments[0].task))
    (digest,) = trunk.digests
    shorter = load_trunk(experiments[0], TrunkCurve().steps)
    vars(shorter)["curve"] = trunk.curve[:-1]  # as if it had been read so
    assert shorter.digests != (digest,)
    assert digest not in load_trunk(experiments[0]).digests


def test_the_hessian_along_a_branch_starts_after_its_split(tmp_path):
    experiment = tiny_experiment(tmp_path, settings=RunSettings(log_every=5, save_steps=[5, 20]))
    for seed in range(2):
        train_branch(experiment, 13, seed)
    mode = load_mode(experiment, 13, steps=[5, 20])
    found = measured(BranchHessian(steps=[5, 20], num_examples=100, evaluation=KEEP).measure(mode, experiment.task))
    assert {(m.branch, m.step) for m in found} == {(0, 20), (0, 40)}
    with pytest.raises(UserError, match="expected the state at step 21"):
        measured(
            BranchHessian(steps=[21], evaluation=KEEP).measure(load_mode(experiment, 13, steps=[21]), experiment.task)
        )
