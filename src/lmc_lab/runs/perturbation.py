"""Branches that start beside W_k: ``branch.start={_target_: lmc_lab.runs.perturbation.perturbed, sigma: 0.1}``."""

from typing import Literal

import torch
from torch import Tensor

from lmc_lab.data.order import DataOrder, Role, StepBatches
from lmc_lab.landscape.perturbation import gaussian, initial_length, scaled
from lmc_lab.runs.manual import loss_of_batch
from lmc_lab.runs.paths import TRUNK
from lmc_lab.runs.variation import Origin, Weights
from lmc_lab.tasks.precision import precision_of
from lmc_lab.tasks.task import Task
from lmc_lab.values import NotNegative, Seed

Kind = Literal["gaussian", "gradient"]


def perturbed(
    weights: Weights, origin: Origin, *, sigma: NotNegative, kind: Kind = "gaussian", seed: Seed = 0
) -> Weights:
    """Returns W_k + sigma e; each branch has an e of its own, and goes on in its own data order.

    As in Altintas et al. 2025 (arXiv 2506.13234) norms and biases, here parameters of fewer than two dimensions, stay as they
    are, and e is as long as the initial weights deviate: see `landscape.perturbation`.

    Args:
        weights: W_k, with buffers.
        origin: where the branch leaves its trunk.
        sigma: the size, in units of the initialisation's deviation; 0 returns W_k.
        kind: of e: ``gaussian``, with each tensor's deviation at W_0, or ``gradient``, of the loss of one batch at W_k.
        seed: of e. Others give the same branches others.
    """
    initial = moved_in(origin.task, origin.trunk_seed)
    order = DataOrder(
        Role.PERTURBATION, origin.trunk_seed, seed, len(origin.task.dataset.train), origin.task.batch_size
    )
    number = 0 if origin.seed == TRUNK else int(origin.seed) + 1
    if kind == "gaussian":
        noise = gaussian(initial, torch.Generator().manual_seed(order.noise_seed(number)))
    else:
        gradient = _gradient(weights, origin, order, number)
        noise = {name: gradient[name] for name in initial}
    steps = scaled(noise, sigma * initial_length(initial))
    return {name: value.double() + steps[name] if name in steps else value for name, value in weights.items()}


def moved_in(task: Task, trunk_seed: int) -> dict[str, Tensor]:
    """Returns the tensors of W_0 that a perturbation moves: those with two or more dimensions that are trained."""
    named = task.initialise(trunk_seed).named_parameters()
    return {name: value.detach() for name, value in named if value.dim() > 1 and value.requires_grad}


def _gradient(weights: Weights, origin: Origin, order: DataOrder, number: int) -> dict[str, Tensor]:
    """Returns the gradient of the training loss of batch `number` of an order, 0 for what it does not reach."""
    task = origin.task
    precision = precision_of(task.precision)
    module = precision.convert_module(task.initialise(origin.trunk_seed))
    module.load_state_dict(dict(weights))
    named = {name: value for name, value in module.named_parameters() if value.requires_grad}
    batches = StepBatches(task.dataset.train, order, 0, task.dataset.augment, task.transform)
    loss = loss_of_batch(module, precision, batches, number, device=torch.device("cpu"))()
    gradients = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
    return dict(zip(named, gradients, strict=True))
