"""Points on a GPU: here a CPU by another name, whose memory is counted."""

import pytest
import torch
from torch import nn
from torch.backends import cudnn

from lmc_lab.data.examples import Examples
from lmc_lab.errors import UserError
from lmc_lab.landscape.hull import probe_hull, sample_hull
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.models.conv1d import ConvNet1d
from lmc_lab.models.lenet import LeNet
from lmc_lab.models.resnet20 import ResNet20
from lmc_lab.models.siren import Siren
from lmc_lab.stacked.graph import UnsupportedModel
from lmc_lab.tasks import point_evaluator
from lmc_lab.tasks.arithmetic import float32_products
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.curvature import spectrum_ends
from lmc_lab.tasks.device import Device, PassSizes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.forward import EvaluationPath
from lmc_lab.tasks.forward_choice import build_forward
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.precision import precision_of
from lmc_lab.tasks.regression import Regression

CPU = torch.device("cpu")
GIB = 2**30


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def fake(total_memory=GIB):
    return Device(CPU, "a GPU", total_memory)


def task_of(name):
    torch.manual_seed(0)
    if name == "siren":
        return Regression(Siren(width=16), sgd), torch.linspace(-1, 1, 70)[:, None]
    model, shape = {
        "lenet": (LeNet(), (3, 32, 32)),
        "conv1d": (ConvNet1d(channels=4), (1, 40)),
        "resnet": (ResNet20(), (3, 32, 32)),
    }[name]
    return Classification(model, sgd), torch.randn(70, *shape)


def examples_of(inputs):
    targets = inputs.sin() if inputs.dim() == 2 else torch.arange(len(inputs)) % 10
    return Examples(inputs, targets, lambda batch: batch)


def points_of(module, count=5):
    layout = ParameterLayout.of(dict(module.named_parameters()))
    theta = layout.flatten(dict(module.named_parameters())).detach()
    thetas = theta + 0.01 * torch.randn(count, len(theta), generator=torch.Generator().manual_seed(1))
    buffers = {name: torch.stack([value] * count) for name, value in module.named_buffers()}
    return thetas, buffers


SETTINGS = EvaluationSettings(num_bn_examples=40)


@pytest.mark.parametrize("name", ["lenet", "conv1d", "siren", "resnet"])
def test_a_device_finds_what_the_cpu_finds(name):
    module, inputs = task_of(name)
    examples = examples_of(inputs)
    thetas, buffers = points_of(module)
    vertices = torch.eye(len(thetas), dtype=torch.float64)
    small = fake(total_memory=2**22 if name == "conv1d" else GIB)
    found = PointEvaluator(module, examples, SETTINGS, device=small)
    expected = PointEvaluator(module, examples, EvaluationSettings(num_bn_examples=40, path="loop"))
    assert found.method == "vectorised"
    both = [each.evaluate_on(examples, buffers)(thetas, vertices) for each in (found, expected)]
    torch.testing.assert_close(both[0].loss, both[1].loss, rtol=1e-5, atol=1e-7)
    if both[0].accuracy is not None:
        assert torch.equal(both[0].accuracy, both[1].accuracy)
        masks = [each.correct_masks(each.points(thetas, vertices, buffers), examples) for each in (found, expected)]
        assert torch.equal(*masks)


@pytest.mark.parametrize("memory", [2**24, 2**28])
@pytest.mark.parametrize("path", ["auto", "loop"])
@pytest.mark.parametrize("name", ["lenet", "conv1d", "resnet"])
def test_a_hull_of_equal_endpoints_has_p_conv_0(name, path, memory):
    module, inputs = task_of(name)
    examples = examples_of(inputs)
    thetas, buffers = points_of(module, count=1)
    endpoints = thetas.expand(3, -1)
    buffers = {name: values.expand(3, *values.shape[1:]) for name, values in buffers.items()}
    settings = EvaluationSettings(num_bn_examples=40, path=path)
    evaluator = PointEvaluator(module, examples, settings, device=fake(memory))
    probe = probe_hull(evaluator.evaluate_on(examples, buffers), endpoints, sample_hull(endpoints, 6, seed=0))
    assert probe.p_conv.value == 0 and len(set(probe.conv.loss.tolist())) == 1


def test_the_hessian_of_a_device_is_that_of_the_cpu():
    module, inputs = task_of("conv1d")
    examples = examples_of(inputs)
    thetas, buffers = points_of(module, count=1)
    ends = []
    for device in (fake(), Device.of(CPU)):
        evaluator = PointEvaluator(module, examples, device=device)
        point = evaluator.points(thetas, torch.ones(1, 1, dtype=torch.float64), buffers)
        options = {"method": "lanczos", "max_products": 30, "tolerance": 1e-3, "seed": 0, "keep_graph": True}
        ends.append(spectrum_ends(evaluator, point, examples, **options))
    assert ends[0].lambda_max == pytest.approx(ends[1].lambda_max, rel=1e-4)
    assert ends[0].lambda_min == pytest.approx(ends[1].lambda_min, rel=1e-3)


def unequal(monkeypatch, *, of_one):
    """Lets equal points have losses that differ where several are judged at once, or also of one from call to call."""
    judge, calls = point_evaluator.Judge.__call__, []

    def judged(self, outputs, targets, states):
        losses, correct = judge(self, outputs, targets, states)
        calls.append(1)
        if len(losses) > 1 or of_one:
            losses = losses + 1e-6 * (torch.arange(len(losses))[:, None] + len(calls))
        return losses, correct

    monkeypatch.setattr(point_evaluator.Judge, "__call__", judged)


def linear(seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(20, 4, generator=generator)
    return Classification(nn.Linear(4, 3), sgd), Examples(inputs, torch.arange(20) % 3, lambda batch: batch)


def test_where_the_last_bit_depends_on_a_place_points_are_evaluated_one_by_one(monkeypatch):
    unequal(monkeypatch, of_one=False)
    module, examples = linear()
    evaluator = PointEvaluator(module, examples, device=fake())
    assert evaluator.method == "loop: one whose last bit depends on a point's place on a GPU"
    assert evaluator.pass_sizes.num_models == 1
    with pytest.raises(UnsupportedModel, match="last bit"):
        PointEvaluator(module, examples, EvaluationSettings(path="stacked"), device=fake())


def test_where_it_differs_from_call_to_call_nothing_is_compared(monkeypatch):
    unequal(monkeypatch, of_one=True)
    module, examples = linear()
    with pytest.raises(UserError, match=r"expected equal points to have equal losses, found .*evaluation.device=cpu"):
        PointEvaluator(module, examples, device=fake())
    assert PointEvaluator(module, examples).method == "stacked"  # a CPU's sums are known


class InPlace(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs.mul_(2))


class Asking(nn.Linear):
    def forward(self, inputs):
        outputs = super().forward(inputs)
        return outputs if float(outputs.sum()) < 1e9 else 2 * outputs


@pytest.mark.parametrize(("kind", "reason"), [(InPlace, "changes its inputs"), (Asking, "torch.func cannot")])
def test_what_cannot_be_vectorised_is_evaluated_one_by_one(kind, reason):
    model, inputs = kind(4, 3).eval(), torch.randn(9, 4)
    forward = build_forward(model, inputs, EvaluationPath.AUTO, sizes=PassSizes(4, 64))
    assert forward.method.startswith("loop: ") and reason in forward.method and forward.num_examples == 256
    with pytest.raises(UnsupportedModel, match=reason):
        build_forward(model, inputs, EvaluationPath.STACKED, sizes=PassSizes(4, 64))


def test_all_passes_are_of_one_size():
    model = nn.Linear(4, 3)
    forward = build_forward(model, torch.randn(9, 4), EvaluationPath.AUTO, sizes=PassSizes(4, 64))
    assert forward.inputs(torch.randn(9, 4))[0].shape == (64, 4)
    assert forward.targets(torch.arange(9)).tolist() == [*range(9), *[8] * 55]


@pytest.mark.parametrize(
    ("total_memory", "memory", "expected"),
    [
        (80 * GIB, 1.0, (32, 1024)),
        (80 * GIB, 0.5, (32, 512)),
        (2 * GIB, 1.0, (32, 256)),
        (GIB // 8, 1.0, (8, 64)),
        (GIB // 8, 1 / 8, (1, 64)),
        (GIB // 64, 1 / 64, (1, 1)),
        (1, 1.0, (1, 1)),
    ],
)
def test_sizes_follow_from_the_memory(total_memory, memory, expected):
    assert Device(CPU, "a GPU", total_memory).sizes(bytes_per_example=50_000, memory=memory) == PassSizes(*expected)


def test_half_the_memory_is_half_a_pass():
    for exponent in range(20, 37):
        passes = [fake(2**exponent).sizes(30_000, memory) for memory in (1.0, 0.5, 0.25)]
        pairs = [each.num_models * each.num_examples for each in passes]
        assert pairs == sorted(pairs, reverse=True) and (len(set(pairs)) == 3 or pairs[-1] <= 2)


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Device.named("auto") == Device.named("cpu") == Device(CPU, "cpu")
    with pytest.raises(UserError, match=r"expected a GPU for evaluation.device=cuda, found none"):
        Device.named("cuda")


@pytest.mark.parametrize("given", [{"device": "gpu"}, {"memory": 0}, {"memory": 2.0}])
def test_settings_that_cannot_be(given):
    with pytest.raises(UserError, match=f"expected evaluation.{next(iter(given))} to be"):
        EvaluationSettings(**given)


def flags():
    matmul = torch.backends.cuda.matmul
    return matmul.allow_tf32, cudnn.allow_tf32, cudnn.conv.fp32_precision, cudnn.benchmark, cudnn.deterministic


@pytest.fixture
def restored():
    before = [backend.fp32_precision for backend in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)]
    yield
    torch.backends.fp32_precision = "none"
    torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32 = False, True
    for backend, precision in zip((torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn), before, strict=True):
        backend.fp32_precision = precision


def test_float32_is_float32_and_everything_is_put_back(monkeypatch, restored):
    torch.set_float32_matmul_precision("high")
    monkeypatch.setattr(cudnn, "benchmark", True)
    before = flags()
    assert before[:2] == (True, True)
    with float32_products():
        assert flags() == (False, False, "ieee", False, True)
        with float32_products(tf32=True, deterministic=False):
            assert flags() == (True, True, "tf32", False, True)
        assert flags() == (False, False, "ieee", False, True)
    assert flags() == before


@pytest.mark.parametrize("deterministic", [True, False])
def test_how_a_gpu_multiplies_is_put_back_after_an_error(monkeypatch, restored, deterministic):
    monkeypatch.setattr(cudnn, "benchmark", True)
    before = flags()
    with pytest.raises(ZeroDivisionError), float32_products(tf32=True, deterministic=deterministic):
        assert flags() != before
        raise ZeroDivisionError
    assert flags() == before


@pytest.mark.parametrize(
    ("name", "default", "autocast"),
    [
        ("64-true", torch.float64, False),
        ("bf16-true", torch.bfloat16, False),
        ("bf16-mixed", torch.float32, True),
        ("32-true", torch.float32, False),
    ],
)
def test_the_default_type_and_autocast_are_put_back_after_an_error(name, default, autocast):
    with pytest.raises(ZeroDivisionError), precision_of(name).forward():
        assert torch.get_default_dtype() == default and torch.is_autocast_enabled("cpu") == autocast
        raise ZeroDivisionError
    assert torch.get_default_dtype() == torch.float32 and not torch.is_autocast_enabled("cpu")


def test_float32_is_float32_where_all_of_torch_was_told_otherwise(restored):
    torch.backends.fp32_precision = "tf32"
    with float32_products():
        assert flags()[:3] == (False, False, "ieee")
    assert torch.backends.cuda.matmul.fp32_precision == cudnn.conv.fp32_precision == "tf32"


def test_whatever_was_allowed_points_are_evaluated_without_tf32(monkeypatch, restored):
    torch.backends.cuda.matmul.allow_tf32 = True
    seen = []
    module, examples = linear()
    module.model.register_forward_hook(lambda *given: seen.append(flags()[:3]))
    settings = EvaluationSettings(path="loop")
    evaluator = PointEvaluator(module, examples, settings)
    thetas, buffers = points_of(module, count=2)
    points = evaluator.points(thetas, torch.eye(2, dtype=torch.float64), buffers)
    for measure in (evaluator.evaluate, evaluator.correct_masks, evaluator.output_size):
        measure(points, examples)
    assert len(seen) >= 6 and set(seen) == {(False, False, "ieee")}
    assert torch.backends.cuda.matmul.allow_tf32


def test_tf32_is_a_precision_of_training():
    assert precision_of("tf32").lightning == "32-true" and precision_of("tf32").weights is None
    with precision_of("tf32").products():
        assert flags()[:3] == (True, True, "tf32")
    with precision_of("32-true").products():
        assert flags()[:3] == (False, False, "ieee")


def test_examples_stay_where_they_are_if_their_preparation_needs_it(caplog):
    own = torch.ones(3)
    examples = Examples(torch.zeros(5, 3), torch.zeros(5), lambda batch: torch.add(batch, own, out=torch.empty(3)))
    with caplog.at_level("INFO"):
        assert examples.on(torch.device("meta")) is examples and examples.on(CPU) is examples
        assert examples.on(torch.device("meta")) is examples
    assert caplog.text.count("examples stay on the CPU, since") == 1
    moved = Examples(torch.zeros(5, 3), torch.zeros(5), lambda batch: batch * 2).on(torch.device("meta"))
    assert moved.inputs.device.type == moved.batch(torch.tensor([0, 1]))[0].device.type == "meta"
