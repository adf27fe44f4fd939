"""What is measured is the model that was trained: losses and Hessians against the module itself, point by point."""

import copy
import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, weight_norm

from lmc_lab.data.examples import Examples
from lmc_lab.errors import UserError
from lmc_lab.landscape.curvature import hessian_product
from lmc_lab.stacked.graph import UnsupportedModel
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.judge import Judge
from lmc_lab.tasks.layout import StateLayout
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.supervised import SupervisedTask
from written import Written

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")

sgd = partial(torch.optim.SGD, lr=0.1)
N = 300  # more than one chunk of the loop
KEEP = {"bn_policy": "keep"}


def tied():
    net = Written(
        lambda m, x: m.last(torch.tanh(m.b(torch.tanh(m.a(x))))),
        a=nn.Linear(6, 6),
        b=nn.Linear(6, 6),
        last=nn.Linear(6, 3),
    )
    net.b.weight = net.a.weight
    return net


def one_layer_under_two_names():
    layer = nn.Linear(6, 6)
    return Written(lambda m, x: m.last(m.b(torch.tanh(m.a(x)))), a=layer, b=layer, last=nn.Linear(6, 3))


def with_old_weight_norm():
    return nn.Sequential(weight_norm(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 3))


def parametrised(norm):
    return nn.Sequential(norm(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 3))


def with_hook():
    layer = nn.Linear(6, 5)
    layer.register_forward_hook(lambda module, inputs, output: output.tanh())
    return nn.Sequential(layer, nn.Linear(5, 3))


def with_hook_of_its_own():
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    net.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
    return net


def with_forward_of_its_own():
    layer = nn.Linear(6, 5)
    layer.forward = lambda x: F.linear(x, layer.weight, layer.bias).relu()
    return nn.Sequential(layer, nn.Linear(5, 3))


def in_place():
    return Written(lambda m, x: m.last(x.flatten(1).sub_(0.5).clamp_(min=0)), last=nn.Linear(6, 3))


def in_place_and_used_again():
    return Written(lambda m, x: m.last(x.mul_(0.5).add_(1)) + m.skip(x), last=nn.Linear(6, 3), skip=nn.Linear(6, 3))


def in_place_before_batch_norm():
    return Written(lambda m, x: m.last(m.norm(x.mul_(2).clamp_(min=-1))), norm=nn.BatchNorm1d(6), last=nn.Linear(6, 3))


def attention():
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    return Written(
        lambda m, x: m.last(m.layer(m.embed(x.view(-1, 3, 2))).mean(1)),
        embed=nn.Linear(2, 4),
        layer=layer,
        last=nn.Linear(4, 3),
    )


MODELS = {
    "tied": tied,
    "one layer under two names": one_layer_under_two_names,
    "weight norm": lambda: parametrised(parametrizations.weight_norm),
    "spectral norm": lambda: parametrised(parametrizations.spectral_norm),
    "old weight norm": with_old_weight_norm,
    "hook of a layer": with_hook,
    "hook of the model": with_hook_of_its_own,
    "forward of its own": with_forward_of_its_own,
    "in place": in_place,
    "in place and used again": in_place_and_used_again,
    "in place before BatchNorm": in_place_before_batch_norm,
    "attention": attention,
}


class Own(SupervisedTask):
    """A loss with a trained temperature and a buffer, and outputs that the task scales."""

    def __init__(self, model):
        super().__init__(model, sgd)
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.shift = nn.Parameter(torch.zeros(3))
        self.register_buffer("weights", torch.tensor([1.0, 2.0, 0.5]))

    def forward(self, inputs):
        return self.model(inputs) + self.shift

    def per_example_loss(self, outputs, targets):
        return F.cross_entropy(outputs / self.temperature, targets, reduction="none") * self.weights[targets]

    def is_correct(self, outputs, targets):
        return (outputs * self.weights).argmax(1) == targets


class WeightsInLoss(Own):
    """Nothing of its own but a loss that looks at the model's weights."""

    def per_example_loss(self, outputs, targets):
        penalty = sum(parameter.square().sum() for parameter in self.model.parameters())
        return F.cross_entropy(outputs, targets, reduction="none") + 0.1 * penalty

    def is_correct(self, outputs, targets):
        return outputs.argmax(1) == targets


def examples_of(shape=(6,), num_examples=N):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(num_examples, *shape, generator=generator, dtype=torch.float64)
    return Examples(inputs, torch.randint(3, (num_examples,), generator=generator), lambda x: x)


def two_modules(build):
    """Two modules of different weights, in float64 and eval mode."""
    modules = []
    for seed in range(2):
        torch.manual_seed(seed)
        module = build().double().eval()
        with torch.no_grad():
            for tensor in [*module.parameters(), *module.buffers()]:
                if tensor.is_floating_point():
                    tensor.mul_(1 + 0.3 * torch.rand_like(tensor))
        modules.append(module)
    return modules


def points_of(evaluator, modules):
    layout = StateLayout.of(modules[0])
    states = [module.state_dict() for module in modules]
    buffers = {name: torch.stack([state[name] for state in states]) for name in layout.buffers}
    thetas = torch.stack([layout.theta(state, "here") for state in states])
    return evaluator.points(thetas, torch.eye(len(modules), dtype=torch.float64), buffers)


def plainly(module, examples):
    """Loss and accuracy of a module on all examples, by itself."""
    with torch.no_grad():
        outputs = module(examples.inputs.clone())
        losses, correct = (
            module.per_example_loss(outputs, examples.targets),
            module.is_correct(outputs, examples.targets),
        )
    return losses.mean(), correct.double().mean()


TASKS = {name: partial(lambda build: Classification(build(), sgd), build) for name, build in MODELS.items()}
TASKS |= {
    "tensors in the loss": lambda: Own(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))),
    "tensors in the loss, one by one": lambda: Own(tied()),
    "the model's weights in the loss": lambda: WeightsInLoss(
        nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    ),
}


@pytest.mark.parametrize("path", ["auto", "loop"])
@pytest.mark.parametrize("name", TASKS)
def test_the_loss_of_a_point_is_that_of_the_module(name, path):
    modules, examples = two_modules(TASKS[name]), examples_of()
    before = examples.inputs.clone(), examples.targets.clone()
    evaluator = PointEvaluator(two_modules(TASKS[name])[0], examples, EvaluationSettings(path=path, **KEEP))
    points = points_of(evaluator, modules)
    found = evaluator.evaluate(points, examples)
    masks = evaluator.correct_masks(points, examples)
    for i, module in enumerate(modules):
        loss, accuracy = plainly(module, examples)
        torch.testing.assert_close(found.loss[i], loss)
        torch.testing.assert_close(found.accuracy[i], accuracy)
        assert masks[i].double().mean() == accuracy
    assert torch.equal(examples.inputs, before[0]) and torch.equal(examples.targets, before[1])


def test_moments_are_those_of_what_the_model_makes_of_its_input():
    examples = examples_of()
    (module, other) = two_modules(TASKS["in place before BatchNorm"])
    evaluator = PointEvaluator(copy.deepcopy(module), examples, EvaluationSettings(num_bn_examples=N))
    found = evaluator.evaluate(points_of(evaluator, [module, other, module]), examples)
    assert found.loss[0] == found.loss[2]
    module.model.norm.train().momentum = 1.0
    module(examples.draw(N).inputs.clone())
    module.eval()
    torch.testing.assert_close(found.loss[0], plainly(module, examples)[0])


def gradient(module, examples):
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    loss = module.per_example_loss(module(examples.inputs.clone()), examples.targets).mean()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, materialize_grads=True)])


def dense_hessian(module, examples, step=1e-5):
    """Central differences of gradients in the module's own trainable parameters: torch's second derivatives may be wrong."""
    rows = []
    for parameter in [parameter for parameter in module.parameters() if parameter.requires_grad]:
        for index in range(parameter.numel()):
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    kept = parameter.clone()
                    parameter.view(-1)[index] += sign * step
                ends.append(gradient(module, examples))
                with torch.no_grad():
                    parameter.copy_(kept)
            rows.append((ends[0] - ends[1]) / (2 * step))
    return torch.stack(rows)


@pytest.mark.parametrize("name", [name for name in TASKS if "BatchNorm" not in name])
def test_hessian_products_are_those_of_the_dense_matrix(name):
    (module, _), examples = two_modules(TASKS[name]), examples_of(num_examples=270)
    evaluator = PointEvaluator(two_modules(TASKS[name])[0], examples, EvaluationSettings(**KEEP))
    point = points_of(evaluator, [module])
    theta = evaluator.differentiable.trained(point)
    vector = torch.randn(len(theta), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = hessian_product(evaluator.differentiable.partial_losses(point, examples), theta)(vector)
    dense = dense_hessian(module, examples)
    torch.testing.assert_close(found, dense @ vector, rtol=1e-4, atol=1e-7)


def test_the_hessian_is_that_of_what_was_trained():
    def half_frozen():
        net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
        net[0].requires_grad_(False)
        return Classification(net, sgd)

    (module, _), examples = two_modules(half_frozen), examples_of(num_examples=50)
    evaluator = PointEvaluator(half_frozen().double(), examples)
    point = points_of(evaluator, [module])
    theta = evaluator.differentiable.trained(point)
    assert len(theta) == 18 and len(StateLayout.of(module).theta(module.state_dict(), "here")) == 53
    product = hessian_product(evaluator.differentiable.partial_losses(point, examples), theta)
    dense = dense_hessian(module, examples)
    found = torch.stack([product(row) for row in torch.eye(18, dtype=torch.float64)])
    torch.testing.assert_close(found, dense, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("weight norm", "ParametrizedLinear"),
        ("old weight norm", "it has hooks"),
        ("hook of a layer", "it has hooks"),
        ("forward of its own", "its forward is not that of its class"),
        ("attention", "expected (batch, features), found (-1, 3, 2)"),
        ("in place", "clamp_"),
    ],
)
def test_why_points_are_evaluated_one_by_one_is_said(name, reason):
    module, examples = TASKS[name]().double(), examples_of()
    method = PointEvaluator(module, examples, EvaluationSettings()).method
    assert method.startswith("loop: ") and reason in method and len(method) <= 120 and "\n" not in method
    with pytest.raises(UnsupportedModel, match=re.escape(reason)):
        PointEvaluator(module, examples, EvaluationSettings(path="stacked"))
    assert PointEvaluator(module, examples, EvaluationSettings(path="loop")).method == "loop"


def test_how_points_are_evaluated_is_logged_once(caplog):
    net = Written(lambda m, x: m.last(x).unusual(), last=nn.Linear(6, 3))
    net.written = lambda m, x: torch.logsumexp(m.last(x)[:, None] * torch.eye(3, dtype=x.dtype), 2)
    with caplog.at_level("INFO"):
        for _ in range(2):
            evaluator = PointEvaluator(Classification(net, sgd).double(), examples_of())
    assert [record.message for record in caplog.records].count(f"points are evaluated so: {evaluator.method}") == 1
    assert PointEvaluator(TASKS["tied"]().double(), examples_of()).method == "stacked"


def sometimes_in_place():
    return Written(lambda m, x: m.last(x.sub_(0.5) if len(x) < 50 else x), last=nn.Linear(6, 3))


def test_a_change_of_the_input_that_the_first_examples_did_not_show_is_refused():
    examples = examples_of()
    modules = two_modules(lambda: Classification(sometimes_in_place(), sgd))
    evaluator = PointEvaluator(modules[0], examples, EvaluationSettings(path="loop"))
    with pytest.raises(UserError, match="expected a model that changes its input in place always or never"):
        evaluator.evaluate(points_of(evaluator, modules), examples)


class ChangesTargets(Classification.__base__):
    def per_example_loss(self, outputs, targets):
        return F.cross_entropy(outputs, targets.clamp_(max=1), reduction="none")

    def is_correct(self, outputs, targets):
        return outputs.argmax(1) == targets


class ChangesOutputs(ChangesTargets):
    def per_example_loss(self, outputs, targets):
        return F.cross_entropy(outputs.mul_(2), targets, reduction="none")


@pytest.mark.parametrize("path", ["loop", "stacked"])
@pytest.mark.parametrize("task", [ChangesTargets, ChangesOutputs])
def test_a_loss_that_changes_what_it_is_given_is_refused(task, path):
    modules = two_modules(lambda: task(nn.Sequential(nn.Linear(6, 3)), sgd))
    examples = examples_of()
    before = examples.targets.clone()
    evaluator = PointEvaluator(modules[0], examples, EvaluationSettings(path=path))
    with pytest.raises(UserError, match="to leave outputs and targets as they are"):
        evaluator.evaluate(points_of(evaluator, modules), examples)
    assert torch.equal(examples.targets, before)


@pytest.mark.parametrize("path", ["loop", "stacked"])
def test_networks_that_are_all_nan_have_nothing_right(path):
    modules = two_modules(lambda: Classification(nn.Sequential(nn.Linear(6, 3)), sgd))
    examples = examples_of()
    evaluator = PointEvaluator(copy.deepcopy(modules[0]), examples, EvaluationSettings(path=path))
    points = points_of(evaluator, modules)
    points["model.0.weight"][1] = torch.nan
    found = evaluator.evaluate(points, examples)
    assert found.loss[1].isnan() and found.accuracy[1] == 0 < found.accuracy[0]


ELSEWHERE = {}  # where a model may put things that are no attribute of it


class Storing(nn.Module):
    """Keeps its hidden activation, or something computed from it, in one of many ways."""

    def __init__(self, keep):
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)
        self.kept, self.listed, self.named, self.number = None, [], {}, 0.0
        self.register_buffer("buffer", torch.zeros(()))
        self.register_buffer("fleeting", torch.zeros(()), persistent=False)
        self.keep = keep

    def forward(self, x):
        hidden = self.first(x).tanh()
        self.keep(self, hidden)
        return self.last(hidden)


def as_attribute(model, hidden):
    model.kept = hidden


def as_item_of_a_list(model, hidden):
    model.listed[:] = [hidden]


def as_item_of_a_dict(model, hidden):
    model.named["last"] = hidden.square()


def as_number(model, hidden):
    model.number = hidden.detach().abs().mean().item()


def as_new_buffer(model, hidden):
    model.buffer = hidden.square().mean()


def into_a_buffer(model, hidden):
    model.buffer.add_(hidden.square().mean())


def into_a_fleeting_buffer(model, hidden):
    model.fleeting.copy_(hidden.detach().abs().mean())


def elsewhere(model, hidden):
    ELSEWHERE["last"] = hidden


def into_a_tensor_elsewhere(model, hidden):
    ELSEWHERE.setdefault("sum", torch.zeros((), dtype=torch.float64)).copy_(hidden.detach().square().sum())


READ = {
    as_attribute: lambda model: model.kept.abs().sum(1),
    as_item_of_a_list: lambda model: model.listed[0].square().sum(1),
    as_item_of_a_dict: lambda model: model.named["last"].sum(1),
    as_number: lambda model: model.number,
    as_new_buffer: lambda model: model.buffer,
    into_a_buffer: lambda model: model.buffer,
    into_a_fleeting_buffer: lambda model: model.fleeting,
    elsewhere: lambda model: ELSEWHERE["last"].square().mean(1),
    into_a_tensor_elsewhere: lambda model: ELSEWHERE["sum"],
}


class Penalised(WeightsInLoss):
    """A loss with a penalty on what its model's forward pass stored."""

    def __init__(self, keep):
        super().__init__(Storing(keep))

    def forward(self, inputs):
        return self.model(inputs)

    def per_example_loss(self, outputs, targets):
        penalty = READ[self.model.keep](self.model)
        return F.cross_entropy(outputs, targets, reduction="none") + 0.5 * penalty


def chunk_by_chunk(module, examples):
    """The loss of a module as a sum over the chunks of 256 that it is evaluated in, each from the module as it was."""
    total = 0
    for inputs, targets in examples.chunks(256):
        own = copy.deepcopy(module)
        total += own.per_example_loss(own(inputs.clone()), targets).sum()
    return total / len(examples)


@pytest.mark.parametrize("path", ["auto", "loop"])
@pytest.mark.parametrize("keep", READ, ids=lambda keep: keep.__name__)
def test_a_loss_that_reads_what_a_forward_pass_stored_reads_that_of_its_own_point(keep, path):
    build = partial(Penalised, keep)
    modules, examples = two_modules(build), examples_of()
    evaluator = PointEvaluator(two_modules(build)[0], examples, EvaluationSettings(path=path, **KEEP))
    points = points_of(evaluator, [*modules, modules[0]])
    found = evaluator.evaluate(points, examples).loss
    assert evaluator.method.startswith("loop")
    with torch.no_grad():
        expected = [chunk_by_chunk(module, examples) for module in (*modules, modules[0])]
    torch.testing.assert_close(found, torch.stack(expected))
    assert found[0] == found[2] != found[1]
    assert torch.equal(evaluator.evaluate(points, examples).loss, found)


@pytest.mark.parametrize("path", ["stacked"])
@pytest.mark.parametrize("keep", [as_attribute, elsewhere])
def test_points_side_by_side_are_refused_where_a_loss_must_follow_its_own(keep, path):
    with pytest.raises(UnsupportedModel, match="one whose forward stores (model.kept|what its loss reads)"):
        PointEvaluator(Penalised(keep).double(), examples_of(), EvaluationSettings(path=path))


DIFFERENTIABLE = (as_attribute, as_item_of_a_dict, as_new_buffer, into_a_buffer, elsewhere)


@pytest.mark.parametrize("keep", DIFFERENTIABLE, ids=lambda keep: keep.__name__)
def test_the_hessian_follows_what_a_forward_pass_stored(keep):
    (module, _), examples = two_modules(partial(Penalised, keep)), examples_of(num_examples=200)
    evaluator = PointEvaluator(two_modules(partial(Penalised, keep))[0], examples, EvaluationSettings(**KEEP))
    point = points_of(evaluator, [module])
    theta = evaluator.differentiable.trained(point)
    vector = torch.randn(len(theta), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    product = hessian_product(evaluator.differentiable.partial_losses(point, examples), theta)
    found = product(vector)
    assert torch.equal(product(vector), found)
    written = module.model.buffer.clone()

    def gradient_at(shift):
        own = copy.deepcopy(module)
        own.model.buffer = written.clone()
        nn.utils.vector_to_parameters(theta + shift * vector, own.parameters())
        return gradient(own, examples)

    torch.testing.assert_close(found, (gradient_at(1e-5) - gradient_at(-1e-5)) / 2e-5, rtol=1e-4, atol=1e-7)


class Counting(nn.Module):
    """Counts its forward passes in training, or always."""

    def __init__(self, *, always):
        super().__init__()
        self.layer, self.step, self.always = nn.Linear(6, 3), 0, always

    def forward(self, x):
        if self.training or self.always:
            self.step += 1
        return self.layer(x)


def test_a_model_that_counts_in_training_only_is_stacked():
    for always, method in ((False, "stacked"), (True, "loop: one whose forward stores model.step")):
        evaluator = PointEvaluator(Classification(Counting(always=always), sgd).double(), examples_of())
        assert evaluator.method == method


def test_parameters_that_forward_and_loss_share_are_not_taken_for_something_stored():
    class Shared(WeightsInLoss):
        def forward(self, inputs):
            return F.linear(inputs, self.model.weight.contiguous(), self.model.bias.double())

    judge = Judge(Shared(nn.Linear(6, 3)).double(), examples_of().inputs, examples_of().targets)
    assert judge.uses_point and judge.stored == "" and judge.written == ()
