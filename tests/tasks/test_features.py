"""Features are what the last linear layer makes the outputs of, by every path and of every shipped classifier."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from lmc_lab.data.examples import Examples
from lmc_lab.landscape.neural_collapse import ClassMeans
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.models.conv1d import ConvNet1d
from lmc_lab.models.lenet import LeNet
from lmc_lab.models.resnet20 import ResNet20
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.device import Device
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.features import Features, NoFeatures
from lmc_lab.tasks.supervised import SupervisedTask
from tagger import Tagger, sequences

SHAPES = {ConvNet1d: (1, 40), LeNet: (3, 32, 32), ResNet20: (3, 32, 32)}
LAST = {ConvNet1d: "classifier.1", LeNet: "classifier.5", ResNet20: "classifier"}


def task_of(model):
    return Classification(model, partial(torch.optim.SGD, lr=0.1))


def examples(shape, count=24, num_classes=10):
    generator = torch.Generator().manual_seed(0)
    return Examples(
        torch.randn(count, *shape, generator=generator), torch.arange(count) % num_classes, lambda inputs: inputs
    )


def collected(features, thetas, buffers, data):
    """Features (n, B, D) and the numbers of their classes, as they are given to what is summed."""
    found = []

    class Kept:
        def __init__(self, own):
            self.own = own

        def __add__(self, other):
            return Kept(torch.cat([self.own, other.own], dim=1))

    def of(own, numbers, num_classes):
        found.append((numbers, num_classes))
        return Kept(own)

    parts = features.summed(of, thetas, torch.eye(len(thetas), dtype=torch.float64), buffers, data)
    return torch.cat([part.own for _, part in parts]), found


@pytest.mark.parametrize("path", ["loop", "stacked", "vectorised"])
@pytest.mark.parametrize("model", SHAPES, ids=lambda model: model.__name__)
def test_the_last_layer_makes_the_outputs_of_them(model, path, monkeypatch):
    if path == "vectorised":  # as on a GPU
        monkeypatch.setattr(Device, "named", lambda name: Device(torch.device("cpu"), "a GPU", 2**30))
    data = examples(SHAPES[model])
    networks = []
    for seed in range(3):
        torch.manual_seed(seed)
        networks.append(model().eval())
    layout = ParameterLayout.of(dict(task_of(networks[0]).named_parameters()))
    thetas = torch.stack([layout.flatten(dict(task_of(own).named_parameters())).detach() for own in networks])
    buffers = {
        name: torch.stack([dict(task_of(own).named_buffers())[name] for own in networks])
        for name, _ in task_of(networks[0]).named_buffers()
    }
    own = Features(
        task_of(model()), data, EvaluationSettings(bn_policy="keep", path="auto" if path == "vectorised" else path)
    )
    assert own.evaluator.method.partition(":")[0] == path
    found, _ = collected(own, thetas, buffers, data)
    for i, network in enumerate(networks):
        last = network.get_submodule(LAST[model])
        assert torch.equal(own.weights(thetas)[i], last.weight)
        with torch.no_grad():
            torch.testing.assert_close(found[i] @ last.weight.T + last.bias, network(data.inputs), rtol=1e-4, atol=1e-5)


def test_rows_and_numbers_are_of_the_classes_that_occur():
    data = examples((4,), num_classes=3)
    data = Examples(data.inputs, data.targets * 2 + 1, data.prepare)  # classes 1, 3 and 5 of 7
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 7))
    own = Features(task_of(model), data, EvaluationSettings())
    thetas = torch.randn(2, 6 * 4 + 6 + 7 * 6 + 7)
    _, ((numbers, num_classes), *_) = collected(own, thetas, {}, data)
    assert num_classes == 3 and torch.equal(numbers[:24], (data.targets - 1) // 2)
    weight = thetas[:, 30 : 30 + 42].view(2, 7, 6)
    assert torch.equal(own.weights(thetas), weight[:, [1, 3, 5]])


def test_places_of_a_sequence_are_examples_and_a_tied_matrix_stays():
    data, model = sequences(dtype=torch.float32), Tagger()
    task = task_of(model)
    theta = ParameterLayout.of(dict(task.named_parameters())).flatten(dict(task.named_parameters())).detach()
    own = Features(task_of(Tagger()), data, EvaluationSettings())
    found, _ = collected(own, theta[None], {}, data)
    with torch.no_grad():
        outputs = model(**data.inputs)["logits"]
    torch.testing.assert_close(found[0] @ own.weights(theta[None])[0].T, outputs.flatten(0, 1))
    ((_, means),) = own.summed(ClassMeans.of, theta[None], torch.ones(1, 1, dtype=torch.float64), {}, data)
    assert int(means.counts.sum()) == data.targets.numel()


class ReadsItsHead(nn.Module):
    """Its forward reads a tensor of its last layer, as that of many models does."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(5, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, inputs):
        return self.head(self.hidden(inputs).to(self.head.weight.dtype))


def test_a_forward_may_read_the_tensors_of_the_last_layer():
    data = examples((5,), num_classes=3)
    task = task_of(ReadsItsHead())
    theta = ParameterLayout.of(dict(task.named_parameters())).flatten(dict(task.named_parameters())).detach()
    expected = task.model.hidden(data.inputs).detach()
    features = Features(task, data, EvaluationSettings())
    found, _ = collected(features, theta[None], {}, data)
    torch.testing.assert_close(found[0], expected)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x).relu())


@pytest.mark.parametrize(
    ("model", "targets", "why"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Tanh()), None, "outputs are not the results of a linear layer"),
        (nn.Sequential(nn.Conv1d(4, 4, 1), nn.Flatten()), None, "outputs are not the results of a linear layer"),
        (Twice(), None, "outputs are not the results of a linear layer"),
        (nn.Linear(4, 4), None, "the model is one linear layer"),
        (nn.Sequential(nn.Linear(4, 4), weight_norm(nn.Linear(4, 4))), None, "weights of the last layer are computed"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), None, "fewer outputs than there are classes"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.randn(24, 4), "the task has no classes"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.ones(24, dtype=torch.int64), "are of one class"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.arange(48).view(24, 2) % 3, "are not a class for each"),
    ],
)
def test_what_has_no_features_of_classes_says_why(model, targets, why):
    data = examples((4, 1) if isinstance(model[0] if isinstance(model, nn.Sequential) else model, nn.Conv1d) else (4,))
    data = Examples(data.inputs, data.targets % 3 if targets is None else targets, data.prepare)
    with pytest.raises(NoFeatures, match=why):
        Features(task_of(model), data, EvaluationSettings())


def test_a_bias_of_the_loss_is_no_feature():
    """Parameters and buffers of the task's module besides its model are in theta, and not in what makes features."""

    class Weighted(SupervisedTask):
        def __init__(self, model):
            super().__init__(model, partial(torch.optim.SGD, lr=0.1))
            self.temperature = nn.Parameter(torch.ones(()))
            self.scaling = nn.BatchNorm1d(3, affine=False)  # for its buffers, in a module of the loss

        def per_example_loss(self, outputs, targets):
            return nn.functional.cross_entropy(self.scaling(outputs) / self.temperature, targets, reduction="none")

        def is_correct(self, outputs, targets):
            return outputs.argmax(1) == targets

    data = examples((4,), num_classes=3)
    module = Weighted(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)))
    layout = ParameterLayout.of(dict(module.named_parameters()))
    theta = layout.flatten(dict(module.named_parameters())).detach()
    with torch.no_grad():
        expected = module.model[:2](data.inputs)
    buffers = {name: buffer[None].clone() for name, buffer in module.named_buffers()}
    own = Features(module, data, EvaluationSettings(bn_policy="keep", path="loop"))
    found, _ = collected(own, theta[None], buffers, data)
    assert len(buffers) == 3
    torch.testing.assert_close(found[0], expected)
