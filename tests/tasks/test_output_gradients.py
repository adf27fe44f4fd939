"""Gradients of outputs are those of autograd, one by one; sums with random signs have the kernel of all outputs on average."""

import copy

import pytest
import torch
from torch import nn

from lmc_lab.landscape.tangent_kernel import kernel_distances, tangent_kernel
from lmc_lab.models.conv1d import ConvNet1d
from lmc_lab.models.siren import Siren
from lmc_lab.tasks import output_gradients
from lmc_lab.tasks.output_gradients import OutputGradients
from tagger import Tagger, sequences
from written import Written

EXAMPLES = 5


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def frozen():
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    model[0].weight.requires_grad_(False)
    return model


def with_moments():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    model[1].running_mean.copy_(drawn(6, seed=3))
    return model


def branching(module, x):
    """A forward that looks at its numbers, which torch.func cannot follow."""
    return module.first(x) if float(x.sum()) > 0 else module.second(x)


def unused():
    return Written(lambda module, x: module.used(x), used=nn.Linear(4, 2), rest=nn.Linear(4, 2))


class InPlace(nn.Linear):
    def forward(self, x):
        return super().forward(x.mul_(2))


class Counting(nn.Linear):
    """A model that writes a buffer when it runs, and reads it."""

    def __init__(self):
        super().__init__(4, 2)
        self.register_buffer("count", torch.ones((), dtype=torch.float64))

    def forward(self, x):
        self.count += 1
        return super().forward(x) * self.count


MODELS = {
    "linear": (lambda: nn.Linear(4, 3), drawn(EXAMPLES, 4), "vectorised"),
    "frozen": (frozen, drawn(EXAMPLES, 4), "vectorised"),
    "BatchNorm": (with_moments, drawn(EXAMPLES, 4), "vectorised"),
    "unused": (unused, drawn(EXAMPLES, 4), "vectorised"),
    "in place": (lambda: InPlace(4, 2), drawn(EXAMPLES, 4), "vectorised"),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), drawn(EXAMPLES, 4), "vectorised"),
    "tokens": (Tagger, {name: tensor[:EXAMPLES] for name, tensor in sequences().inputs.items()}, "vectorised"),
    "conv1d": (lambda: ConvNet1d(channels=3), drawn(EXAMPLES, 1, 40), "vectorised"),
    "siren": (lambda: Siren(width=4, num_hidden=1), drawn(EXAMPLES, 1), "vectorised"),
    "branching": (lambda: Written(branching, first=nn.Linear(4, 2), second=nn.Linear(4, 2)), drawn(EXAMPLES, 4), "one by one"),
    "counting": (Counting, drawn(EXAMPLES, 4), "vectorised"),
}  # fmt: skip


def logits(found):
    return found["logits"] if isinstance(found, dict) else found


class Judged(nn.Module):
    """What a task's module does about several inputs and logits in a dict."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return logits(self.model(**inputs) if isinstance(inputs, dict) else self.model(inputs))


def state_of(module):
    return {name: value.detach().clone() for name, value in (*module.named_parameters(), *module.named_buffers())}


def by_hand(module, inputs):
    """The Jacobian (n, O, D) of a module at its own parameters, by autograd, an output of an example at a time."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    rows = []
    for i in range(EXAMPLES):
        alone = (
            {name: tensor[i : i + 1].clone() for name, tensor in inputs.items()}
            if isinstance(inputs, dict)
            else inputs[i : i + 1].clone()
        )
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        outputs = module(alone).flatten()
        found = [torch.autograd.grad(output, trained, retain_graph=True, materialize_grads=True) for output in outputs]
        rows.append(torch.stack([torch.cat([part.flatten() for part in parts]) for parts in found]))
        for name, buffer in module.named_buffers():
            buffer.copy_(buffers[name])
    return torch.stack(rows)


def found_by(module, inputs, **settings):
    gradients = OutputGradients(module, inputs, **{"max_outputs": 100, **settings})
    rows = gradients.at(state_of(module), inputs)
    return gradients, torch.stack(
        [rows(slice(0, EXAMPLES), output) for output in range(len(gradients.directions))], dim=1
    )


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_autograd(name):
    build, inputs, method = MODELS[name]
    torch.manual_seed(0)
    module = Judged(build()).double().eval()
    before, inputs_before = state_of(module), copy.deepcopy(inputs)
    gradients, found = found_by(module, inputs)
    assert gradients.method.startswith(method)
    expected = by_hand(module, inputs_before)
    assert gradients.dimension == expected.shape[2]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in state_of(module).items())


@pytest.mark.parametrize("name", ["frozen", "unused", "tokens", "counting"])
def test_one_by_one_they_are_the_same(name, monkeypatch):
    build, inputs, _ = MODELS[name]
    torch.manual_seed(0)
    module = Judged(build()).double().eval()
    monkeypatch.setattr(output_gradients, "vmap", None)
    gradients, found = found_by(module, inputs)
    assert gradients.method.startswith("one by one")
    torch.testing.assert_close(found, by_hand(module, inputs), rtol=1e-12, atol=1e-12)


def test_a_linear_model_has_one_kernel_and_a_network_has_not():
    inputs = drawn(EXAMPLES, 4)
    for build, is_linear in ((lambda: nn.Linear(4, 3), True), (frozen, False)):
        torch.manual_seed(0)
        module = Judged(build()).double().eval()
        gradients = OutputGradients(module, inputs, max_outputs=100)
        here = state_of(module)
        there = {name: value + drawn(*value.shape, seed=5) for name, value in here.items()}
        kernels = [
            tangent_kernel(gradients.at(state, inputs), EXAMPLES, len(gradients.directions), block=2)[None]
            for state in (here, there)
        ]
        distance = float(kernel_distances(*kernels))
        assert distance == 0 if is_linear else distance > 0.01


def test_many_outputs_are_replaced_by_sums_whose_kernel_is_theirs_on_average():
    torch.manual_seed(0)
    module, inputs = Judged(nn.Linear(4, 50)).double().eval(), drawn(EXAMPLES, 4)
    gradients, found = found_by(module, inputs, max_outputs=49)
    torch.testing.assert_close(found, torch.einsum("so,iod->isd", gradients.directions, by_hand(module, inputs)))
    products = gradients.directions.T @ gradients.directions  # the identity on average over signs
    torch.testing.assert_close(products.diagonal(), torch.ones(50, dtype=torch.float64))
    above = products[tuple(torch.triu_indices(50, 50, offset=1))]
    assert above.abs().mean() > 0.05 and abs(above.mean()) < 4 / 49**0.5 / len(above) ** 0.5
    assert torch.equal(gradients.directions, OutputGradients(module, inputs, max_outputs=49).directions)
