"""W_0 as a function of the trunk's seed, and which of its tensors make a point."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lmc_lab.errors import UserError
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.layout import StateLayout
from lmc_lab.tasks.noise import draws_numbers
from tiny import tiny_experiment


def task_of(build_model, **changes):
    return replace(tiny_experiment(Path("unused")).task, build_model=build_model, **changes)


def same(left, right):
    left, right = left.state_dict(), right.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def lazy():
    frozen = nn.BatchNorm1d(16).eval()
    return nn.Sequential(
        nn.LazyLinear(16),
        frozen,
        nn.Dropout(),
        nn.Unflatten(1, (1, 16)),
        nn.LazyConv1d(4, 3),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def test_lazy_layers_have_their_sizes_and_are_a_function_of_the_seed():
    task = task_of(lazy)
    module = task.initialise(3)
    torch.randn(5)
    assert same(module, task_of(lazy).initialise(3)) and not same(module, task.initialise(4))
    assert module.model[0].weight.shape == (16, 2) and module.model[-1].weight.shape == (3, 56)
    assert module.training and not module.model[1].training and module.model[2].training
    assert module.model[1].num_batches_tracked == 0
    assert task.layout.parameters.dimension == sum(p.numel() for p in module.parameters())


class WithNoise(Classification.__base__):
    """Parameters of its own that are drawn at random."""

    def __init__(self, model, optimizer):
        super().__init__(model, optimizer)
        self.noise = nn.Parameter(torch.randn(3))

    def per_example_loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs + self.noise, targets, reduction="none")

    def is_correct(self, outputs, targets):
        return None


def test_what_the_loss_draws_is_a_function_of_the_seed_too():
    task = task_of(partial(nn.Linear, 2, 3), build_module=lambda model: WithNoise(model, torch.optim.SGD))
    before = torch.get_rng_state()
    assert same(task.initialise(0), task.initialise(0)) and not same(task.initialise(0), task.initialise(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert task.layout.parameters.names == ("noise", "model.weight", "model.bias")


class Several(nn.Module):
    """A weight of two names, a buffer of two names, one that is not saved, and parameters of another type."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("kept", torch.ones(2))
        self.alias = nn.Module()
        self.alias.register_buffer("kept", self.kept)
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.count = nn.Parameter(torch.ones(2, dtype=torch.float64))


def test_a_tensor_counts_once_and_is_cast_to_what_the_module_has():
    module = Several()
    layout = StateLayout.of(module)
    assert layout.parameters.names == ("count", "first.weight", "first.bias")
    assert layout.buffers == ("kept",)
    state = {name: value.to(torch.bfloat16) for name, value in module.state_dict().items()}
    assert layout.own_buffers(state, Path("here"))["kept"].dtype == torch.float32
    theta = layout.theta(state, Path("here"))
    other = Several()
    layout.load(other, 2 * theta, {"kept": torch.zeros(2)})
    assert torch.equal(other.second.weight, 2 * layout.parameters.unflatten(theta)["first.weight"].float())
    assert torch.equal(other.alias.kept, torch.zeros(2)) and torch.equal(other.passing, torch.ones(2))


def test_the_state_of_another_module_and_weights_that_diverged_are_refused():
    layout, state = StateLayout.of(nn.Linear(2, 2)), nn.Linear(2, 2).state_dict()
    with pytest.raises(UserError, match="in here, found none of bias"):
        layout.theta({"weight": state["weight"]}, Path("here"))
    for value in (torch.nan, torch.inf):
        state["weight"][0, 1] = value
        with pytest.raises(UserError, match="expected finite weights in here, found NaN or infinity"):
            layout.theta(state, Path("here"))


@pytest.mark.parametrize(
    ("precision", "sentence"),
    [
        ("8bit", "expected task.precision to be one of 64-true, 32-true, .* found '8bit'; choose one of"),
        ("bf16-tru", "did you mean 'bf16-true'"),
        (32, "found '32'"),
        ("16-mixed", "whose scaling of the loss leaves steps out; set it to bf16-mixed"),
    ],
)
def test_a_precision_that_is_not_supported_is_refused_before_anything_else(precision, sentence):
    with pytest.raises(UserError, match=sentence):
        task_of(lazy, precision=precision)


def test_parameters_of_several_types_are_refused():
    with pytest.raises(UserError, match="expected parameters of one real type, found torch.float32 and torch.float64"):
        task_of(lambda: nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3).double())).initialise(0)
    with pytest.raises(UserError, match="found torch.complex64"):
        task_of(lambda: nn.Sequential(nn.Linear(2, 3, dtype=torch.complex64))).initialise(0)


def test_a_step_that_draws_from_numpy_or_takes_a_closure_is_tried():
    class Mixed(Classification):
        def training_loss(self, batch):
            return float(np.random.beta(1.0, 1.0)) * super().training_loss(batch)

    quiet = task_of(lambda: nn.Linear(2, 3))
    assert not draws_numbers(quiet)
    build = {
        "noisy": lambda model: Mixed(model, partial(torch.optim.SGD, lr=0.1), num_classes=3),
        "closure": lambda model: Classification(model, torch.optim.LBFGS, num_classes=3),
    }
    found = {name: draws_numbers(replace(quiet, build_module=each)) for name, each in build.items()}
    assert found == {"noisy": True, "closure": False}
