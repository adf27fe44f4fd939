"""`import lmc_lab`: any module, any loss, tensors or a DataLoader, and state dicts."""

import ast
import copy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lmc_lab
from lmc_lab.analyses.base import Measurement, Record
from lmc_lab.analyses.convex_mode import ConvexMode
from lmc_lab.analyses.hessian import BranchHessian
from lmc_lab.analyses.pairs import Pairs
from lmc_lab.analyses.predictions import Predictions
from lmc_lab.analyses.spectrum import Spectrum
from lmc_lab.landscape.curvature import NoGradient
from lmc_lab.landscape.predictions import pack_mask
from lmc_lab.runs import checkpoint
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from tiny import build_model, tiny_experiment, train_branch

N = 300


@pytest.fixture(scope="module")
def branches(tmp_path_factory):
    """A mode of the suite and, by themselves, the states of its model."""
    experiment = tiny_experiment(tmp_path_factory.mktemp("tiny"))
    ensure_trunk(experiment, {13})
    for seed in range(3):
        train_branch(experiment, 13, seed)
    mode = load_mode(experiment, 13)
    stored = [checkpoint.load(folder.endpoint).state["model"] for folder in mode.training.folders]
    return mode, experiment.task, [{name.removeprefix("model."): t for name, t in s.items()} for s in stored]


def rows(analysis, mode, task, subset):
    found = analysis.measure(mode, task)
    return {m.quantity: m.value for m in found if isinstance(m, Measurement) and m.subset == subset}


@pytest.mark.parametrize("subset", ["train", "test"])
@pytest.mark.parametrize("policy", ["reestimate", "interpolate", "keep"])
def test_the_hull_of_states_has_the_bits_of_the_suites_rows(branches, policy, subset):
    mode, task, states = branches
    evaluation = EvaluationSettings(bn_policy=policy, num_bn_examples=64)
    expected = rows(ConvexMode(num_samples=40, seed=3, evaluation=evaluation), mode, task, subset)
    examples = task.dataset.subsets[subset]
    train = (task.dataset.train.inputs, task.dataset.train.targets)
    objective = lmc_lab.Objective(
        build_model(), F.cross_entropy, (examples.inputs, examples.targets), train_data=train,
        bn_policy=policy, num_bn_examples=64,
    )  # fmt: skip
    probe = lmc_lab.probe_hull(objective, states, num_samples=40, seed=3)
    assert probe.p_conv.value == expected["p_conv"] and probe.p_rand.value == expected["p_rand"]
    for kind, found in {"endpoint": probe.endpoints, "hull_point": probe.conv, "perturbation": probe.rand}.items():
        assert float(found.loss.mean()) == expected[f"{kind}_loss"]
        assert float(found.accuracy.mean()) == expected[f"{kind}_accuracy"]
    assert float(probe.jensen_gap.mean()) == expected["jensen_gap"]


def test_lines_spectra_and_correct_examples_have_the_bits_of_the_suites_rows(branches):
    mode, task, states = branches
    evaluation = EvaluationSettings(num_bn_examples=64)
    train = (task.dataset.train.inputs, task.dataset.train.targets)
    model = build_model()
    objective = lmc_lab.Objective(model, nn.CrossEntropyLoss(), train, num_bn_examples=64)

    expected = rows(Pairs(num_endpoints=2, num_points=7, evaluation=evaluation), mode, task, "train")
    line = lmc_lab.barrier(objective, states[0], states[1], num_points=7)
    assert line.loss.barrier == expected["barrier_loss"] and line.error.barrier == expected["barrier_error"]
    assert line.loss.instability == expected["instability_loss"]

    expected = rows(BranchHessian(num_examples=150, max_products=40, evaluation=evaluation), mode, task, None)
    ends = lmc_lab.extreme_eigenvalues(objective, states[0], num_examples=150, max_products=40)
    assert (ends.lambda_min, ends.lambda_max) == (expected["lambda_min"], expected["lambda_max"])

    expected = [m for m in Spectrum().measure(mode, task) if m.quantity == "singular_value_centred"]
    assert lmc_lab.singular_values(model, states, centred=True).values.tolist() == [m.value for m in expected]

    found = list(Predictions(evaluation=evaluation).measure(mode, task))
    masks = next(record.tensor for record in found if isinstance(record, Record))  # the first is of the training set
    assert torch.equal(pack_mask(lmc_lab.shared_correct(objective, states).masks), masks)


class Point(nn.Module):
    """The output is the point itself, whatever the input."""

    def __init__(self, size=5):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(size, dtype=torch.float64))

    def forward(self, inputs):
        return self.w.expand(len(inputs), -1)


def some_numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CURVATURES = torch.linspace(-1, 5, 5, dtype=torch.float64)


def quadratic(outputs, targets):
    return (0.5 * outputs.square() @ CURVATURES).mean()


def test_closed_forms_of_a_quadratic():
    data = (some_numbers(N, 1), some_numbers(N, 1, seed=1))
    objective = lmc_lab.Objective(Point(), quadratic, data)
    states = [{"w": point} for point in some_numbers(4, 5)]
    losses = objective.evaluate(states).loss
    torch.testing.assert_close(losses, torch.stack([0.5 * s["w"].square() @ CURVATURES for s in states]))

    probe = lmc_lab.probe_hull(objective, states, num_samples=30)
    coefficients = probe.sample.coefficients
    points = coefficients @ torch.stack([state["w"] for state in states])
    torch.testing.assert_close(probe.conv.loss, 0.5 * points.square() @ CURVATURES)

    difference = states[0]["w"] - states[1]["w"]
    line = lmc_lab.barrier(objective, states[0], states[1], num_points=3)
    height = -float(difference.square() @ CURVATURES) / 8
    assert line.loss.barrier == pytest.approx(max(height, 0), abs=1e-12) and line.error is None

    ends = lmc_lab.extreme_eigenvalues(objective, states[0], tolerance=1e-9)
    assert (ends.lambda_min, ends.lambda_max) == pytest.approx((-1, 5)) and ends.is_converged

    spectrum = lmc_lab.singular_values(Point(), states, centred=False)
    torch.testing.assert_close(spectrum.values, torch.linalg.svdvals(torch.stack([s["w"] for s in states])))


def test_on_a_level_set_of_a_convex_loss_p_conv_is_one_and_of_a_concave_one_zero():
    data = (some_numbers(N, 1), some_numbers(N, 1, seed=1))
    points = F.normalize(some_numbers(5, 5), dim=1)
    states = [{"w": point} for point in points]
    for sign, share in ((1, 1.0), (-1, 0.0)):
        objective = lmc_lab.Objective(Point(), lambda o, t, s=sign: s * o.square().sum(1).mean(), data)
        probability = lmc_lab.probe_hull(objective, states, num_samples=50).p_conv
        assert probability.value == share and probability.num_samples == 50


def test_the_hessian_of_least_squares_is_that_of_the_inputs():
    inputs, targets = some_numbers(N, 4), some_numbers(N, 1, seed=1)
    model = nn.Linear(4, 1, bias=False).double()
    ends = lmc_lab.extreme_eigenvalues(
        lmc_lab.Objective(model, F.mse_loss, (inputs, targets)), model.state_dict(), tolerance=1e-8
    )
    expected = torch.linalg.eigvalsh(2 * inputs.T @ inputs / N)
    assert (ends.lambda_min, ends.lambda_max) == pytest.approx((float(expected[0]), float(expected[-1])))


class Tokens(nn.Module):
    """Scores (B, T, V) of the next of T tokens."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 6), nn.Linear(6, 7)

    def forward(self, tokens):
        return self.head(torch.tanh(self.embedding(tokens)))


def of_tokens(outputs, targets):
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def that_asks_for_a_value(outputs, targets):
    return F.mse_loss(outputs, targets) * (1.0 if outputs.sum().item() < 1e9 else 0.0)


def mlp(num_outputs=3):
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, num_outputs))


VALUES, LABELS = some_numbers(N, 4).float(), torch.arange(N) % 3
TOKENS = torch.randint(7, (N, 5), generator=torch.Generator().manual_seed(0))
CASES = {
    "labels": (mlp, F.cross_entropy, VALUES, LABELS),
    "smoothed": (mlp, nn.CrossEntropyLoss(label_smoothing=0.1), VALUES, LABELS),
    "soft labels": (mlp, F.cross_entropy, VALUES, VALUES[:, :3].softmax(1)),
    "several values": (mlp, F.mse_loss, VALUES, VALUES[:, 1:]),
    "yes or no": (lambda: mlp(1), F.binary_cross_entropy_with_logits, VALUES, (VALUES[:, :1] > 0).float()),
    "tokens": (Tokens, of_tokens, TOKENS, TOKENS.roll(1, dims=1)),
    "not by vmap": (mlp, that_asks_for_a_value, VALUES, VALUES[:, 1:]),
}


def some_states(build, count=3):
    states = []
    for seed in range(count):
        torch.manual_seed(seed)
        states.append(build().state_dict())
    return states


def by_hand(model, loss, state, inputs, targets):
    model.load_state_dict(state)
    with torch.no_grad():
        return float(loss(model.eval()(inputs), targets))


@pytest.mark.parametrize("case", CASES)
def test_the_loss_of_states_is_that_of_the_model_with_them(case):
    build, loss, inputs, targets = CASES[case]
    states = some_states(build)
    objective = lmc_lab.Objective(build(), loss, (inputs, targets))
    expected = [by_hand(build(), loss, state, inputs, targets) for state in states]
    assert objective.evaluate(states).loss.tolist() == pytest.approx(expected, rel=1e-5)
    assert len(lmc_lab.probe_hull(objective, states, num_samples=4).conv.loss) == 4
    assert lmc_lab.extreme_eigenvalues(objective, states[0], num_examples=20, max_products=60).lambda_max > 0


def test_a_loss_may_read_the_models_weights_which_are_those_of_the_point():
    model, states = mlp(), some_states(mlp)

    def with_decay(outputs, targets):
        return F.cross_entropy(outputs, targets) + 0.1 * model[0].weight.square().sum()

    found = lmc_lab.Objective(model, with_decay, (VALUES, LABELS)).evaluate(states).loss
    plain = lmc_lab.Objective(mlp(), F.cross_entropy, (VALUES, LABELS)).evaluate(states).loss
    decay = torch.stack([0.1 * state["0.weight"].square().sum() for state in states])
    torch.testing.assert_close(found, plain + decay, check_dtype=False)


def test_several_threads_find_the_same_bits(monkeypatch):
    inputs = some_numbers(9_000, 4).float()
    states = some_states(mlp)
    losses = []
    for num_threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", num_threads)
        objective = lmc_lab.Objective(mlp(), F.cross_entropy, (inputs, torch.arange(9_000) % 3))
        assert objective.method == "stacked"
        losses.append(objective.evaluate(states).loss)
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (nn.CrossEntropyLoss(reduction="sum"), "to be a mean over examples, found .* for 64 examples whose own losses"),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0])), "to be a mean .* without weights of classes"),
        (nn.CrossEntropyLoss(ignore_index=1), "to be a mean over examples"),
        (lambda o, t: F.cross_entropy(o, t) + o.mean(0).square().sum(), "to be a mean .* terms that compare examples"),
        (nn.CrossEntropyLoss(reduction="none"), r"to return a scalar tensor, found a tensor \(64,\)"),
        (lambda o, t: float(F.cross_entropy(o, t)), "to return a scalar tensor, found float"),
    ],
)
def test_a_loss_that_is_no_mean_over_examples_is_refused(loss, words):
    with pytest.raises(lmc_lab.UserError, match=words):
        lmc_lab.Objective(mlp(), loss, (VALUES, LABELS))


def test_a_loss_that_changes_its_arguments_is_refused():
    def changing(outputs, targets):
        return F.mse_loss(outputs.clamp_(-1, 1), targets)

    objective = lmc_lab.Objective(mlp(), changing, (VALUES, VALUES[:, 1:]))
    with pytest.raises(lmc_lab.UserError, match="to leave outputs and targets as they are"):
        objective.evaluate(some_states(mlp))


def test_a_loss_that_is_no_number_makes_no_answer():
    states = some_states(mlp)
    states[1] = {name: tensor * 1e30 for name, tensor in states[1].items()}
    objective = lmc_lab.Objective(mlp(), F.cross_entropy, (VALUES, LABELS))
    for ask in (lambda: lmc_lab.probe_hull(objective, states), lambda: lmc_lab.shared_correct(objective, states)):
        with pytest.raises(
            ValueError, match="expected the loss of every endpoint to be a number, found nan at endpoint 1"
        ):
            ask()
    with pytest.raises(ValueError, match="expected P >= 2 endpoints and J >= 1 samples, found P = 1"):
        lmc_lab.probe_hull(objective, states[:1])


def test_what_is_right_may_be_said_and_is_checked():
    yes = (VALUES[:, :1] > 0).float()
    states = some_states(lambda: mlp(1))

    def is_correct(outputs, targets):
        return ((outputs > 0) == (targets > 0.5)).squeeze(1)

    def objective(**options):
        return lmc_lab.Objective(mlp(1), F.binary_cross_entropy_with_logits, (VALUES, yes), **options)

    shared = lmc_lab.shared_correct(objective(is_correct=is_correct), states)
    models = [mlp(1).eval() for _ in states]
    for model, state, mask in zip(models, states, shared.masks, strict=True):
        model.load_state_dict(state)
        assert torch.equal(mask, is_correct(model(VALUES), yes))
    assert float(shared.shares[-1]) == pytest.approx(float(shared.intra_mode.double().mean()))
    with pytest.raises(lmc_lab.UserError, match="expected an objective with right and wrong"):
        lmc_lab.shared_correct(objective(), states)
    with pytest.raises(
        lmc_lab.UserError, match=r"expected is_correct to return torch.bool \(64,\), found torch.bool \(64, 1\)"
    ):
        objective(is_correct=lambda outputs, targets: outputs > 0)


class TwoOutputs(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs), inputs


@pytest.mark.parametrize(
    ("model", "targets", "words"),
    [
        (mlp(2), LABELS, "expected labels from 0 to 1, one for each of the model's outputs, found 2"),
        (TwoOutputs(4, 3), LABELS, "expected the model to return one tensor .*, found tuple"),
        (nn.Flatten(0), LABELS, "expected a model with parameters, found none in Flatten"),
        (nn.LazyLinear(3), LABELS, "found lazy ones; run it once on a batch"),
        (mlp(), LABELS - 1, "expected labels from 0 on in data"),
        (mlp(), LABELS[1:], "expected a target for each of the 300 inputs of data, found 299"),
        (mlp(), VALUES * torch.nan, "expected finite targets of data"),
        (nn.Linear, LABELS, r"expected model to be a torch.nn.Module, found the class Linear; give one: Linear\("),
        (F.cross_entropy, LABELS, "found function; give model, loss and data, in this order"),
        (
            mlp(),
            VALUES[:, 0],
            r"expected loss\(outputs, targets\) to take outputs .* and targets torch.float32 \(64,\), found",
        ),
    ],
)
def test_models_and_data_that_cannot_be_are_refused(model, targets, words):
    with pytest.raises(lmc_lab.UserError, match=words):
        lmc_lab.Objective(model, F.cross_entropy, (VALUES, targets))


def test_arrays_are_no_tensors():
    with pytest.raises(lmc_lab.UserError, match=r"found arrays; give torch.as_tensor\(…\) of each"):
        lmc_lab.Objective(mlp(), F.cross_entropy, (VALUES.numpy(), LABELS.numpy()))


def test_a_probe_says_in_a_line_what_it_found():
    objective = lmc_lab.Objective(mlp(), F.cross_entropy, (VALUES, LABELS))
    probe = lmc_lab.probe_hull(objective, [mlp().state_dict(), mlp().state_dict()], num_samples=3)
    assert repr(probe).startswith("HullProbe(P = 2, p_conv = ") and len(repr(probe)) < 300


def test_a_setting_that_cannot_be_is_refused():
    with pytest.raises(lmc_lab.UserError, match="did you mean 'keep'"):
        lmc_lab.Objective(mlp(), F.cross_entropy, (VALUES, LABELS), bn_policy="kept")


class InPlace(nn.Module):
    """Changes its input, and counts in a buffer how often it was called."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, inputs):
        self.calls += 1
        return self.norm(self.layer(inputs.mul_(2)))


def test_the_model_and_the_data_stay_as_they_are():
    model, inputs = InPlace().train(), VALUES.clone()
    model.layer.eval()
    with torch.random.fork_rng():
        model(inputs.clone()).sum().backward()
    before, grad = copy.deepcopy(model.state_dict()), model.layer.weight.grad.clone()
    states = some_states(InPlace)
    originals = copy.deepcopy(states)
    objective = lmc_lab.Objective(model, F.cross_entropy, (inputs, LABELS))
    tried = model.calls.clone()  # in its constructor the model itself is run
    lmc_lab.probe_hull(objective, states, num_samples=3)
    lmc_lab.extreme_eigenvalues(objective, states[0], num_examples=50, max_products=4)
    lmc_lab.shared_correct(objective, states)
    assert model.training and not model.layer.training and model.norm.training
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before if name != "calls")
    assert torch.equal(model.calls, tried) and torch.equal(model.layer.weight.grad, grad)
    assert torch.equal(inputs, VALUES)
    for state, original in zip(states, originals, strict=True):
        assert all(torch.equal(state[name], original[name]) for name in state)


def test_dropout_is_off_also_when_the_model_is_trained_on_in_between():
    model, states = Tokens(), some_states(Tokens)
    model.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 7))
    states = [{name.replace("head.", "head.1."): tensor for name, tensor in state.items()} for state in states]
    objective = lmc_lab.Objective(model, of_tokens, (TOKENS, TOKENS.roll(1, dims=1)))
    first = objective.evaluate(states).loss
    model.train()
    assert torch.equal(objective.evaluate(states).loss, first)


@pytest.fixture(scope="module")
def modules_of_the_library():
    script = (
        "import lmc_lab, sys, torch; from torch.nn import functional as F; "
        "model = torch.nn.Linear(2, 3); data = (torch.randn(50, 2), torch.arange(50) % 3); "
        "objective = lmc_lab.Objective(model, F.cross_entropy, data); "
        "states = [torch.nn.Linear(2, 3).state_dict() for _ in range(3)]; "
        "lmc_lab.probe_hull(objective, states, num_samples=3), lmc_lab.barrier(objective, *states[:2]); "
        "lmc_lab.extreme_eigenvalues(objective, states[0]), lmc_lab.shared_correct(objective, states); "
        "lmc_lab.singular_values(model, states, centred=True); print(*sys.modules)"
    )
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()


def test_the_library_needs_torch_and_neither_hydra_nor_lightning(modules_of_the_library):
    heavy = {"hydra", "omegaconf", "lightning", "torchmetrics", "torchvision", "pandas", "pyarrow", "scipy", "wandb"}
    assert "torch" in modules_of_the_library
    assert not heavy & set(modules_of_the_library)


def test_the_package_alone_imports_no_torch_and_knows_its_names():
    script = (
        "import sys, lmc_lab; assert {*lmc_lab.__all__} <= {*dir(lmc_lab)}; import lmc_lab.process; "
        "print(hasattr(lmc_lab, 'nothing'), 'torch' in sys.modules, lmc_lab.Objective.__name__, 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert found.split() == ["False", "False", "Objective", "True"]
    assert all(getattr(lmc_lab, name).__name__ == name for name in lmc_lab.__all__)


def test_a_type_checker_knows_the_names_that_are_offered():
    package = Path(lmc_lab.__file__)
    imports = [node for node in ast.walk(ast.parse(package.read_text())) if isinstance(node, ast.ImportFrom)]
    known = {alias.name for node in imports if node.module.startswith("lmc_lab.") for alias in node.names}
    assert known == {*lmc_lab.__all__} and (package.parent / "py.typed").exists()


class Elsewhere(nn.Linear):
    """A model that knows how often it was moved."""

    moved = 0

    def to(self, *given, **named):
        Elsewhere.moved += 1
        return super().to(*given, **named)


def test_points_are_evaluated_where_it_is_said_on_a_copy_of_the_model(monkeypatch):
    from lmc_lab.library import objective as module

    data = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    states = [nn.Linear(4, 3).state_dict() for _ in range(3)]
    plain = lmc_lab.probe_hull(lmc_lab.Objective(model := Elsewhere(4, 3), F.cross_entropy, data), states)
    assert (
        lmc_lab.probe_hull(lmc_lab.Objective(model, F.cross_entropy, data, device="cpu"), states).p_conv == plain.p_conv
    )
    assert Elsewhere.moved == 0
    monkeypatch.setattr(module, "_device_of", lambda model: torch.device("meta"))  # so that the CPU is another device
    other = lmc_lab.Objective(model, F.cross_entropy, data, device="cpu")
    assert Elsewhere.moved == 1 and other.evaluator._forward is not None
    torch.testing.assert_close(lmc_lab.probe_hull(other, states).conv.loss, plain.conv.loss, rtol=0, atol=0)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_a_copy_of_a_model_that_trains_is_measured_in_eval_mode(monkeypatch):
    from lmc_lab.library import objective as module

    data = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    state = model.state_dict()
    here = lmc_lab.Objective(model, F.cross_entropy, data, bn_policy="keep")
    monkeypatch.setattr(module, "_device_of", lambda model: torch.device("meta"))  # so that the CPU is another device
    there = lmc_lab.Objective(model, F.cross_entropy, data, bn_policy="keep", device="cpu")
    expected, found = (
        lmc_lab.extreme_eigenvalues(objective, state, num_examples=40, seed=0) for objective in (here, there)
    )
    assert found.lambda_max == pytest.approx(expected.lambda_max) and found.lambda_min == pytest.approx(
        expected.lambda_min
    )
    assert model.training and all(part.training for part in model)


def test_a_model_on_two_devices_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3, device="meta"))
    with pytest.raises(
        lmc_lab.UserError, match=r"expected a model on one device, found it on cpu and meta; give model.cpu\(\)"
    ):
        lmc_lab.Objective(model, F.cross_entropy, (torch.randn(9, 4), torch.arange(9) % 3))


@pytest.mark.filterwarnings("always")
def test_nothing_is_heard_of_advice_on_vmap_and_the_users_filters_stay(recwarn):
    data = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    before = list(warnings.filters)
    objective = lmc_lab.Objective(nn.Linear(4, 3), F.multi_margin_loss, data)
    objective.evaluate([nn.Linear(4, 3).state_dict()])
    assert not recwarn.list and warnings.filters == before
    with pytest.warns(UserWarning, match="There is a performance drop"):  # what torch says otherwise
        torch.func.vmap(lambda output: F.multi_margin_loss(output, torch.tensor(0)))(torch.randn(2, 3))


class Scaled(nn.Module):
    """A model whose forward reads a number from a buffer, as observers of quantisation do."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("scale", torch.tensor(1.0))

    def forward(self, x):
        return self.linear(x) / self.scale.item()


def test_a_number_that_is_read_from_a_buffer_is_that_of_each_endpoint():
    data = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    model, states = Scaled(), []
    for scale in (0.25, 4.0):
        other = Scaled()
        other.scale.fill_(scale)
        states.append(other.state_dict())
    found = lmc_lab.Objective(model, F.cross_entropy, data, bn_policy="keep").evaluate(states).loss
    for state, loss in zip(states, found.tolist(), strict=True):
        outputs = F.linear(data[0], state["linear.weight"], state["linear.bias"]) / state["scale"]
        assert loss == pytest.approx(float(F.cross_entropy(outputs, data[1])), rel=1e-5)


class OfCounts(nn.Sequential):
    """A model that takes whole numbers."""

    def forward(self, x):
        return super().forward(x / 255)


def test_whole_numbers_may_be_inputs():
    data = torch.randint(256, (60, 4), generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    model = OfCounts(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    objective = lmc_lab.Objective(model, F.cross_entropy, data, num_bn_examples=60)
    (found,) = objective.evaluate([model.state_dict()]).loss.tolist()
    of_batch = F.cross_entropy(model.train()(data[0]), data[1]).item()
    assert found == pytest.approx(of_batch, rel=0.02)  # but for Bessel's factor


class Branching(nn.Module):
    """A forward that torch.fx cannot trace, so that points are evaluated one by one."""

    def __init__(self):
        super().__init__()
        self.layer, self.noise, self.norm = nn.Linear(4, 3), nn.Dropout(0.5), nn.BatchNorm1d(3)

    def forward(self, inputs):
        outputs = self.norm(self.noise(self.layer(inputs)))
        return outputs if bool(outputs.isfinite().all()) else inputs


def test_points_have_no_dropout_and_leave_the_model_in_its_mode():
    model, states = Branching(), some_states(Branching)
    objective = lmc_lab.Objective(model, F.cross_entropy, (VALUES, LABELS))
    model.train()
    first, again = (objective.points(states)["model.norm.running_mean"] for _ in range(2))
    assert torch.equal(first, again) and all(part.training for part in model.modules())


def test_weights_that_are_all_frozen_have_no_hessian():
    model, states = nn.Linear(4, 3).requires_grad_(False), some_states(lambda: nn.Linear(4, 3))
    objective = lmc_lab.Objective(model, F.cross_entropy, (VALUES, LABELS))
    with pytest.raises(NoGradient, match="found that all are frozen"):
        lmc_lab.extreme_eigenvalues(objective, states[0])


@pytest.mark.parametrize("given", [{"num_examples": 0}, {"num_examples": -5}, {"method": "foo"}, {"max_products": 1}])
def test_what_eigenvalues_are_asked_with_is_checked(given):
    objective = lmc_lab.Objective(nn.Linear(4, 3), F.cross_entropy, (VALUES, LABELS))
    with pytest.raises(lmc_lab.UserError, match=f"expected {next(iter(given))} to be "):
        lmc_lab.extreme_eigenvalues(objective, some_states(lambda: nn.Linear(4, 3))[0], **given)


def test_no_state_dicts_are_one_sentence():
    objective = lmc_lab.Objective(nn.Linear(4, 3), F.cross_entropy, (VALUES, LABELS))
    for measure in (lmc_lab.probe_hull, lmc_lab.shared_correct):
        with pytest.raises(lmc_lab.UserError, match="found an empty list"):
            measure(objective, [])


def test_one_example_has_no_moments_for_batch_norm():
    with pytest.raises(lmc_lab.UserError, match="expected 2 or more training examples"):
        lmc_lab.Objective(Branching(), F.cross_entropy, (VALUES[:1], LABELS[:1]))
