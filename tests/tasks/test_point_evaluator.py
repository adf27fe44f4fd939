from functools import partial

import pytest
import torch
from torch import nn

from lmc_lab.data.examples import Examples
from lmc_lab.errors import UserError
from lmc_lab.landscape.hull import probe_hull, sample_hull
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.models.conv1d import ConvNet1d
from lmc_lab.models.lenet import LeNet
from lmc_lab.models.siren import Siren
from lmc_lab.stacked.graph import UnsupportedModel
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.evaluation_settings import BatchNormPolicy, EvaluationSettings
from lmc_lab.tasks.forward import EvaluationPath
from lmc_lab.tasks.forward_choice import build_forward
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.regression import Regression

NUM_EXAMPLES = 53

three_classes = partial(Classification, num_classes=3)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def two_layers():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double()


def some_examples(seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(NUM_EXAMPLES, 4, generator=generator, dtype=torch.float64) * 2 + 1
    return Examples(inputs, torch.randint(3, (NUM_EXAMPLES,), generator=generator), lambda x: x)


def endpoints_of(models):
    layout = ParameterLayout.of(dict(models[0].named_parameters()))
    thetas = torch.stack([layout.flatten(dict(model.named_parameters())).detach() for model in models])
    names = [name for name, _ in models[0].named_buffers()]
    return thetas, {f"model.{name}": torch.stack([model.get_buffer(name) for model in models]) for name in names}


def three_models():
    torch.manual_seed(0)
    models = [two_layers() for _ in range(3)]
    for model in models:
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2)
    return models


def by_hand(theta, moments, examples):
    """Loss and accuracy of the two-layer network, written out."""
    w1, b1, scale, shift, w2, b2 = theta.split([24, 6, 6, 6, 18, 3])
    hidden = examples.inputs @ w1.view(6, 4).T + b1
    mean, variance = moments(hidden)
    normal = (hidden - mean) / (variance + 1e-5).sqrt() * scale + shift
    outputs = normal.clamp(min=0) @ w2.view(3, 6).T + b2
    chosen = outputs.log_softmax(1)[torch.arange(NUM_EXAMPLES), examples.targets]
    return -chosen.mean(), (outputs.argmax(1) == examples.targets).double().mean()


MIXTURE = torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.0, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize("path", ["loop", "stacked"])
@pytest.mark.parametrize("policy", list(BatchNormPolicy))
def test_batch_norm_policies_by_hand_on_a_two_layer_network(policy, path):
    models, examples = three_models(), some_examples()
    thetas, buffers = endpoints_of(models)
    means, variances = buffers["model.1.running_mean"], buffers["model.1.running_var"]
    fixed = some_examples().draw(20).inputs

    def moments(row, theta):
        def reestimate(hidden):
            first = fixed @ theta[:24].view(6, 4).T + theta[24:30]
            return first.mean(0), first.var(0, correction=1)

        return {
            "reestimate": reestimate,
            "interpolate": lambda hidden: (MIXTURE[row] @ means, MIXTURE[row] @ variances),
            "keep": lambda hidden: (means[MIXTURE[row].argmax()], variances[MIXTURE[row].argmax()]),
        }[policy]

    points = MIXTURE @ thetas
    task = three_classes(two_layers(), sgd)
    evaluator = PointEvaluator(task, examples, EvaluationSettings(bn_policy=policy, num_bn_examples=20, path=path))
    found = evaluator.evaluate_on(examples, buffers)(points, MIXTURE)
    for row, theta in enumerate(points):
        loss, accuracy = by_hand(theta, moments(row, theta), examples)
        torch.testing.assert_close(found.loss[row], loss)
        torch.testing.assert_close(found.accuracy[row], accuracy)


@pytest.mark.parametrize("path", ["loop", "stacked"])
def test_reestimation_leaves_the_model_and_the_endpoints_buffers_alone(path):
    models, examples = three_models(), some_examples()
    thetas, buffers = endpoints_of(models)
    before = {name: values.clone() for name, values in buffers.items()}
    task = three_classes(two_layers(), sgd)
    evaluator = PointEvaluator(task, examples, EvaluationSettings(bn_policy="reestimate", path=path))
    state = {name: value.clone() for name, value in task.model.state_dict().items()}
    evaluator.evaluate_on(examples, buffers)(thetas, torch.eye(3, dtype=torch.float64))
    assert all(torch.equal(buffers[name], before[name]) for name in buffers)
    assert all(torch.equal(task.model.state_dict()[name], state[name]) for name in state)
    assert task.model[1].momentum == 0.1


def test_regression_has_no_accuracy():
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(30, 2, generator=generator), torch.randn(30, 1, generator=generator)
    examples = Examples(inputs, targets, lambda x: x)
    task = Regression(nn.Linear(2, 1), sgd)
    theta = torch.tensor([[1.0, -2.0, 0.5]])
    found = PointEvaluator(task, examples).evaluate_on(examples, {})(theta, torch.ones(1, 1))
    expected = (inputs @ theta[0, :2, None] + 0.5 - targets).square().mean()
    torch.testing.assert_close(found.loss[0].float(), expected)
    assert found.accuracy is None


class Odd(nn.Module):
    """A model that cannot be stacked: its parameter is not in a layer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, dtype=torch.float64))

    def forward(self, inputs):
        return inputs @ self.weight


def test_a_model_that_cannot_be_stacked_is_evaluated_in_a_loop_unless_stacked_is_asked_for():
    examples, task = some_examples(), three_classes(Odd(), sgd)
    theta = torch.randn(2, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = PointEvaluator(task, examples).evaluate_on(examples, {})(theta, torch.eye(2))
    outputs = examples.inputs @ theta[1].view(4, 3)
    torch.testing.assert_close(found.loss[1], nn.functional.cross_entropy(outputs, examples.targets))
    with pytest.raises(UnsupportedModel):
        PointEvaluator(task, examples, EvaluationSettings(path="stacked"))


def test_correct_masks_are_the_examples_behind_the_accuracy():
    examples, models = some_examples(), three_models()
    thetas, buffers = endpoints_of(models)
    evaluator = PointEvaluator(three_classes(two_layers(), sgd), examples, EvaluationSettings(bn_policy="keep"))
    points = evaluator.points(thetas, torch.eye(3), buffers)
    masks = evaluator.correct_masks(points, examples)
    for mask, model in zip(masks, models, strict=True):
        assert torch.equal(mask, model.eval()(examples.inputs).argmax(1) == examples.targets)
    assert torch.equal(masks.double().mean(1), evaluator.evaluate(points, examples).accuracy)
    losses, is_right = evaluator.judge_each(points, examples)
    assert torch.equal(is_right, masks)
    torch.testing.assert_close(losses.mean(1), evaluator.evaluate(points, examples).loss, rtol=1e-12, atol=0)
    for own, model in zip(losses, models, strict=True):
        expected = nn.functional.cross_entropy(model.eval()(examples.inputs), examples.targets, reduction="none")
        torch.testing.assert_close(own, expected.detach(), rtol=1e-12, atol=1e-12)


def convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 3)
    )


def depthwise():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 12 * 12, 3)
    )


@pytest.mark.parametrize("path", ["stacked", "loop"])
@pytest.mark.parametrize("num_examples", [1, 7, 63, 300, 500])
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (LeNet, (3, 32, 32)),
        (ConvNet1d, (1, 40)),
        (Siren, (1,)),
        (convolutions, (3, 16, 16)),
        (depthwise, (3, 16, 16)),
        (lambda: nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3)), (20,)),
        (lambda: nn.Sequential(nn.Linear(49, 55), nn.LayerNorm(55), nn.GELU(), nn.Linear(55, 3)), (49,)),
    ],
)
def test_no_point_of_equal_endpoints_is_better(build, shape, num_examples, path):
    """The strict < of `p_conv` sees the last bit: neither a point's place nor the number of points may change it."""
    torch.manual_seed(0)
    model = build()
    inputs = torch.randn(num_examples, *shape)
    is_wave = isinstance(model, Siren)
    targets = torch.randn(num_examples, 1) if is_wave else torch.arange(num_examples) % 3
    examples = Examples(inputs, targets, lambda x: x)
    task = Regression(model, sgd) if is_wave else Classification(model, sgd)
    evaluate = PointEvaluator(task, examples, EvaluationSettings(path=path)).evaluate_on(examples, {})
    endpoints = endpoints_of([model] * 4)[0]
    for num_endpoints, num_samples in ((3, 5), (4, 17)):
        equal = endpoints[:num_endpoints]
        probe = probe_hull(evaluate, equal, sample_hull(equal, num_samples, seed=0))
        assert not probe.is_conv_better.any() and not probe.is_rand_better.any()
        assert len({*probe.endpoints.loss.tolist(), *probe.conv.loss.tolist(), *probe.centre.loss.tolist()}) == 1


@pytest.mark.parametrize("path", ["auto", "loop"])
def test_a_batch_norm_without_running_moments_has_none_to_estimate(path):
    examples = some_examples()
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3)).double()
    thetas, buffers = endpoints_of([model, model])
    found = PointEvaluator(three_classes(model, sgd), examples, EvaluationSettings(path=path)).evaluate_on(
        examples, buffers
    )
    expected = nn.functional.cross_entropy(model(examples.inputs), examples.targets)
    torch.testing.assert_close(found(thetas, torch.eye(2)).loss, expected.detach().expand(2))


def test_moments_of_one_example_are_refused():
    with pytest.raises(UserError, match="expected evaluation.num_bn_examples to be a whole number >= 2, since"):
        EvaluationSettings(num_bn_examples=1)


def test_an_unknown_policy_or_path_is_refused_whoever_asks_for_it():
    for given, words in (({"bn_policy": "kept"}, "did you mean 'keep'"), ({"path": "lop"}, "did you mean 'loop'")):
        with pytest.raises(UserError, match=words):
            EvaluationSettings(**given)


def test_a_point_has_the_same_loss_whoever_is_evaluated_beside_it():
    examples, generator = some_examples(), torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    examples = Examples(examples.inputs.float(), examples.targets, examples.prepare)
    thetas = torch.randn(11, 51, generator=generator)
    evaluate = PointEvaluator(three_classes(model, sgd), examples).evaluate_on(examples, {})
    together = evaluate(thetas, torch.eye(11))
    alone = [evaluate(theta[None], torch.ones(1, 1)).loss for theta in thetas]
    assert torch.equal(together.loss, torch.cat(alone))


def small_net():
    return nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 3))


def net_of_images():
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("build", "shape", "task_class"),
    [(small_net, (64,), three_classes), (net_of_images, (1, 8, 8), three_classes), (small_net, (64,), Regression)],
)
def test_several_threads_find_the_same_bits(build, shape, task_class, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20_000, *shape, generator=generator)
    is_regression = task_class is Regression
    targets = torch.randn(20_000, 3, generator=generator) if is_regression else torch.arange(20_000) % 3
    examples = Examples(inputs, targets, lambda x: x)
    models = [build() for _ in range(9)]
    thetas, buffers = endpoints_of(models)

    def found(num_threads):
        monkeypatch.setattr("lmc_lab.tasks.forward.num_cores", lambda: num_threads)
        evaluator = PointEvaluator(task_class(models[0], sgd), examples)
        points = evaluator.points(thetas, torch.eye(9), buffers)
        evaluation = evaluator.evaluate(points, examples)
        return evaluation.loss, evaluation.accuracy, evaluator.correct_masks(points, examples)

    for one, three in zip(found(1), found(3), strict=True):
        assert (one is None and three is None and is_regression) or torch.equal(one, three)


@pytest.mark.parametrize("path", ["loop", "stacked"])
def test_a_way_to_run_a_model_knows_the_device_it_was_built_on_and_takes_inputs_there(path):
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    on_cpu = build_forward(model, torch.zeros(8, 4), EvaluationPath(path))
    on_meta = build_forward(model.to("meta"), torch.zeros(8, 4, device="meta"), EvaluationPath(path))
    assert (on_cpu.device.type, on_meta.device.type) == ("cpu", "meta")
    assert {part.device for part in on_meta.inputs(torch.zeros(6, 4))} == {torch.device("meta")}
    states = {
        name: torch.zeros(on_meta.num_models, *value.shape, device="meta") for name, value in model.named_parameters()
    }
    assert on_meta.at(states)(on_meta.inputs(torch.zeros(6, 4))).device.type == "meta"
