"""Several inputs by name, logits in a dict or an object, targets of sequences and tied matrices, by every path."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import lmc_lab
from lmc_lab.analyses.base import Measurement
from lmc_lab.analyses.class_means import HullCollapse, InterCollapse
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.curves import BranchCurves, TrunkCurve
from lmc_lab.analyses.distances import Distances
from lmc_lab.analyses.example_barriers import BarriersByExample
from lmc_lab.analyses.gap_terms import GapTermsOfHull
from lmc_lab.analyses.hessian import BranchHessian, TrunkHessian
from lmc_lab.analyses.hulls import Hulls
from lmc_lab.analyses.inter_alignment import InterAlignment
from lmc_lab.analyses.layers import FeatureLinearity, LayerBarriersOfMode
from lmc_lab.analyses.lyapunov import TrunkLyapunov
from lmc_lab.analyses.midpoint_gap import TrunkMidpointGap
from lmc_lab.analyses.neural_collapse import BranchCollapse, TrunkCollapse
from lmc_lab.analyses.pairs import Pairs
from lmc_lab.analyses.plane import PlaneOfHull
from lmc_lab.analyses.predictions import InterMode, Predictions
from lmc_lab.analyses.spectrum import Spectrum
from lmc_lab.analyses.star import InterStar, Star
from lmc_lab.analyses.tangent_kernel import BranchKernel, InterKernel, TrunkKernel
from lmc_lab.data.examples import Dataset, Examples
from lmc_lab.data.from_loader import examples_of
from lmc_lab.data.transforms import Transforms
from lmc_lab.errors import UserError
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.landscape.predictions import unpack_mask
from lmc_lab.runs import checkpoint
from lmc_lab.runs.companions import why_alone
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.modes import Modes
from lmc_lab.runs.run import Run
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.states import load_trunk
from lmc_lab.runs.together import train_together
from lmc_lab.runs.trunk import ensure_split, ensure_trunk
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.curvature import spectrum_ends
from lmc_lab.tasks.device import Device
from lmc_lab.tasks.point_evaluator import PointEvaluator
from tagger import NUM_TOKENS, Tagger, as_object, logits_by_hand, sequences
from tiny import tiny_experiment, train_branch

EXAMPLES = sequences()
DEVICES = {"loop": Device.of(torch.device("cpu")), "vectorised": Device(torch.device("cpu"), "a GPU", 2**30)}
sgd = partial(torch.optim.SGD, lr=0.2, momentum=0.9)


def task_of(model):
    return Classification(model, sgd, num_classes=NUM_TOKENS)


def points(count=5):
    """Parameters (n, D) under the names of the task's."""
    torch.manual_seed(0)
    layout = ParameterLayout.of(dict(task_of(Tagger().double()).named_parameters()))
    return layout, torch.randn(count, sum(map(lambda p: p.numel(), Tagger().parameters())), dtype=torch.float64)


def by_hand(layout, theta):
    """Loss, and which examples are right at their last place."""
    own = {name: value[0] for name, value in layout.unflatten(theta[None]).items()}
    logits = logits_by_hand(
        *(own[f"model.{name}"] for name in ("embedding.weight", "mix.weight", "mix.bias")), EXAMPLES.inputs
    )
    chosen = logits.log_softmax(2).gather(2, EXAMPLES.targets[..., None])[..., 0]
    return -chosen.mean(), logits[:, -1].argmax(1) == EXAMPLES.targets[:, -1]


@pytest.mark.parametrize("method", DEVICES)
@pytest.mark.parametrize("model", [Tagger, partial(Tagger, as_object)], ids=["dict", "object"])
def test_points_have_the_losses_of_the_formula(method, model):
    layout, thetas = points()
    evaluator = PointEvaluator(task_of(model().double()), EXAMPLES, device=DEVICES[method])
    assert evaluator.method.partition(":")[0] == method
    states = evaluator.points(thetas, torch.eye(len(thetas), dtype=torch.float64), {})
    found, masks = evaluator.evaluate(states, EXAMPLES), evaluator.correct_masks(states, EXAMPLES)
    for i, theta in enumerate(thetas):
        loss, correct = by_hand(layout, theta)
        torch.testing.assert_close(found.loss[i], loss)
        assert torch.equal(masks[i], correct)
        assert found.accuracy[i] == correct.double().mean()


def test_the_ends_of_the_hessian_are_those_of_the_formulas():
    layout, (theta, *_) = points()
    evaluator = PointEvaluator(task_of(Tagger(as_object).double()), EXAMPLES)
    point = evaluator.points(theta[None], torch.ones(1, 1, dtype=torch.float64), {})
    found = spectrum_ends(
        evaluator, point, EXAMPLES, method="lanczos", max_products=60, tolerance=1e-10, seed=0, keep_graph=False
    )
    dense = torch.autograd.functional.hessian(lambda theta: by_hand(layout, theta)[0], theta)
    ends = torch.linalg.eigvalsh(dense)[[0, -1]]
    torch.testing.assert_close(torch.tensor([found.lambda_min, found.lambda_max], dtype=torch.float64), ends)


class Scored(nn.Sequential):
    def forward(self, x):
        return {"logits": super().forward(x)}


def test_a_dict_of_a_model_of_known_layers_is_that_of_models_side_by_side():
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(50, 4, generator=generator), torch.arange(50) % 3
    examples, layers = Examples(inputs, targets, lambda x: x), (nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    thetas = torch.randn(3, 51, generator=generator)
    plain, scored = (PointEvaluator(Classification(build(*layers), sgd), examples) for build in (nn.Sequential, Scored))
    assert scored.method == "stacked"
    vertices = torch.eye(3, dtype=torch.float64)
    losses = [each.evaluate_on(examples, {})(thetas, vertices).loss for each in (plain, scored)]
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("wrap", "found"),
    [
        (lambda logits: {"scores": logits, "hidden": logits}, "found a dict of scores, hidden"),
        (lambda logits: (logits, None), "found tuple"),
        (lambda logits: SimpleNamespace(logits=None), "found SimpleNamespace"),
    ],
)
def test_outputs_without_logits_are_refused(wrap, found):
    with pytest.raises(UserError, match=found):
        PointEvaluator(task_of(Tagger(wrap).double()), EXAMPLES)


def test_the_library_takes_them_too():
    layout, thetas = points(3)
    unflattened = [
        {name.removeprefix("model."): value[0] for name, value in layout.unflatten(t[None]).items()} for t in thetas
    ]
    states = [state | {"head.weight": state["embedding.weight"]} for state in unflattened]
    data = DataLoader(
        [({n: t[i] for n, t in EXAMPLES.inputs.items()}, EXAMPLES.targets[i]) for i in range(60)], batch_size=16
    )

    def loss(outputs, targets):
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    whole = lmc_lab.Objective(Tagger().double(), loss, (EXAMPLES.inputs, EXAMPLES.targets))
    read = lmc_lab.Objective(Tagger(as_object).double(), loss, data)
    expected = torch.stack([by_hand(layout, theta)[0] for theta in thetas])
    torch.testing.assert_close(whole.evaluate(states).loss, expected)
    assert torch.equal(read.evaluate(states).loss, whole.evaluate(states).loss)
    assert lmc_lab.probe_hull(whole, states, num_samples=4).conv.loss.isfinite().all()


def test_batches_whose_inputs_differ_are_refused():
    inputs, targets = EXAMPLES.inputs, EXAMPLES.targets
    with pytest.raises(UserError, match="two tensors with as many rows"):
        examples_of([(inputs | {"mask": inputs["mask"][1:]}, targets)], "data")
    with pytest.raises(UserError, match="target for each of the 59 inputs mask"):
        examples_of((inputs | {"mask": inputs["mask"][1:]}, targets), "data")
    with pytest.raises(UserError, match="finite inputs mask of data, found nan"):
        examples_of((inputs | {"mask": inputs["mask"] * torch.nan}, targets), "data")


def test_augmentation_by_transforms_is_of_one_input():
    with pytest.raises(UserError, match="expected one input for task.augmentation, found tokens, mask"):
        Transforms([lambda example: example])(EXAMPLES.inputs, torch.Generator())


def experiment(path, *, precision="64-true", augment=None, **changes):
    dtype = torch.float64 if precision == "64-true" else torch.float32
    dataset = Dataset(sequences(dtype=dtype), sequences(30, seed=1, dtype=dtype), "sequences", augment)
    base = tiny_experiment(path, **changes)
    parts = {"build_model": Tagger, "build_module": task_of, "load_data": lambda: dataset, "num_classes": NUM_TOKENS}
    return replace(base, task=replace(base.task, precision=precision, **parts))


def without_some(inputs, generator):
    keeps = torch.rand(inputs["mask"].shape, generator=generator) < 0.9
    return inputs | {"mask": inputs["mask"] * keeps}


@pytest.mark.parametrize("augment", [None, without_some])
def test_branches_together_are_those_alone(tmp_path, augment):
    together, alone = (experiment(tmp_path / name, augment=augment) for name in ("together", "alone"))
    for each in (together, alone):
        ensure_split(each, 13)
    runs = [Run(together, 13, seed) for seed in (0, 1)]
    assert why_alone(runs[0], allows_noise=False) is None
    train_together(runs)
    for run in runs:
        ours, theirs = (
            checkpoint.load(folder.endpoint).state["model"]
            for folder in (run.folder, train_branch(alone, 13, run.seed))
        )
        assert ours.keys() == theirs.keys() and "model.head.weight" in ours
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-12)
        assert torch.equal(ours["model.head.weight"], ours["model.embedding.weight"])


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    settings = RunSettings(log_every=5, save_steps=[40], evaluate_every=20)
    trunks = [experiment(folder, precision="32-true", trunk_seed=seed, settings=settings) for seed in range(2)]
    for trunk in trunks:
        ensure_trunk(trunk, {13, 40})
        for seed in range(4):
            train_branch(trunk, 13, seed)
    return trunks


ANALYSES = [
    ConvexMode(num_samples=10),
    Hulls(num_samples=5, num_hulls=2),
    Distances(num_samples=5),
    GapTermsOfHull(num_samples=4),
    Spectrum(),
    Pairs(),
    PlaneOfHull(num_samples=5, num_grid=3),
    Predictions(),
    BranchHessian(num_examples=30),
    BranchCurves(),
    TrunkHessian(num_examples=30),
    TrunkMidpointGap(num_pairs=3, num_examples=20),
    TrunkCurve(),
    InterMode(),
    TrunkCollapse(),
    BranchCollapse(),
    HullCollapse(num_samples=4),
    InterCollapse(),
    Star(num_points=3),
    InterStar(num_points=3, num_endpoints=1),
    LayerBarriersOfMode(num_endpoints=3),
    FeatureLinearity(num_samples=2, num_examples=20),
    TrunkLyapunov(num_steps=4),
    TrunkKernel(num_examples=4),
    BranchKernel(num_examples=4),
    InterKernel(num_examples=4, max_outputs=3),
    BarriersByExample(num_resamples=9),
]


@pytest.mark.parametrize("analysis", ANALYSES, ids=lambda analysis: analysis.name)
def test_every_analysis_measures_them(trunks, analysis):
    modes = [load_mode(trunk, 13) for trunk in trunks]
    subject = {"Trunk": load_trunk(trunks[0]), "Mode": modes[0], "Modes": Modes(tuple(modes))}[
        analysis.subject.__name__
    ]
    found = [item for item in analysis.measure(subject, trunks[0].task) if isinstance(item, Measurement)]
    assert found and np.isfinite([measurement.value for measurement in found]).all()


def test_where_nobody_knows_which_neurons_may_change_places_nothing_is_aligned(trunks):
    modes = Modes(tuple(load_mode(trunk, 13) for trunk in trunks))
    *measured, said = InterAlignment(num_samples=5, num_points=3).measure(modes, trunks[0].task)
    named = [item.quantity for item in measured if isinstance(item, Measurement)]
    assert named and all(name.endswith("_union_none") for name in named)
    assert str(said).startswith("alignment of neurons, since the model has what torch.fx cannot trace")


def test_masks_of_the_mode_are_those_of_the_model_at_its_last_place(trunks):
    mode, task = load_mode(trunks[0], 13), trunks[0].task
    (records,) = [item for item in Predictions().measure(mode, task) if getattr(item, "name", "") == "test_correct"]
    test, model = task.dataset.test, Tagger()
    for i, folder in enumerate(mode.training.folders):
        state = checkpoint.load(folder.endpoint).state["model"]
        model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
        right = model(**test.inputs)["logits"][:, -1].argmax(1) == test.targets[:, -1]
        assert np.array_equal(unpack_mask(records.tensor, len(test))[i].numpy(), right.numpy())
