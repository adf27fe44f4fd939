"""Does chaos end at the onset? Finite-time Lyapunov exponents along a trunk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from lmc_lab.analyses.base import Answer, Choice, LeftOut, TrunkAnalysis
from lmc_lab.analyses.estimates import mean
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.analyses.windows import Window
from lmc_lab.data.order import trunk_order
from lmc_lab.landscape.lyapunov import Growth, Products, SGDStep, growth
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.runs.manual import ManualTraining, changing_callbacks
from lmc_lab.runs.states import RunState, Trunk
from lmc_lab.tasks.derivatives import twice_differentiable
from lmc_lab.tasks.device import Device, DeviceName
from lmc_lab.tasks.precision import precision_of
from lmc_lab.tasks.supervised import only_optimizer
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Natural, Seed, at_least, incidental


@final
@dataclass(frozen=True, kw_only=True)
class TrunkLyapunov(TrunkAnalysis):
    """How fast small differences of weights grow in windows of a trunk, which is trained again from its states on.

    Each step is the trunk's own, with its batch and its noise; see `landscape.lyapunov`. A window of n steps costs n times
    that of a training step and `num_directions` Hessian products of its batch. The directions in which weights differ are
    drawn at random, and turn towards that which grows fastest in the first half of the window: `lyapunov_exponent` is
    the mean over the second half, of weights and momentum, `difference_growth` that over the whole window, of weights
    alone. Both are logs for each step; above 0 differences grow.

    A window that would end after T is left out. Only SGD is followed, at a constant rate, without clipping and without
    callbacks that may change its steps; of a task with another optimizer there are no rows.

    Args:
        steps: of the states at which windows begin; all that are saved for None.
        num_steps: n.
        num_directions: over which rows are means.
        seed: of the directions.
        device: where; a result is known without it.
    """

    name: ClassVar[str] = "trunk_lyapunov"
    version: ClassVar[int] = 3
    steps: Sequence[Natural] | None = None
    num_steps: Annotated[int, at_least(2, because="half of them are not counted")] = 100
    num_directions: Count = 3
    seed: Seed = 0
    device: Annotated[str, DeviceName] = incidental(DeviceName.AUTO)

    def measure(self, trunk: Trunk, task: Task) -> Iterator[Answer]:
        """Yields both rates of each window with intervals over the directions; `step` is that at which it begins."""
        if reason := _not_followed(task):
            yield LeftOut("Lyapunov exponents", f"since {reason}")
            return
        device = Device.named(self.device)
        yield Choice("device", device.name)
        window = Window(self.num_steps, task.max_steps)
        begins = [state for state in trunk.states if window.may_begin_at(state.step)]
        if not begins:
            yield LeftOut("Lyapunov exponents", f"since {window.why_none}")
        for state in begins:
            with numbers_only(f"from the state at step {state.step}"):
                growth = self._growth(task, trunk.trunk_seed, state, device.torch_device)
            rates = {
                "lyapunov_exponent": growth.exponents(self.num_steps // 2),
                "difference_growth": growth.rates_of_theta(),
            }
            yield from (replace(mean(name, values), step=state.step) for name, values in rates.items())

    def _growth(self, task: Task, trunk_seed: int, state: RunState, device: torch.device) -> Growth:
        train = task.dataset.train.on(device)
        order = trunk_order(trunk_seed, len(train), task.batch_size)
        training = ManualTraining(task, trunk_seed, state, train, order, device=device)
        size = sum(parameter.numel() for parameter in training.parameters)
        generator = torch.Generator().manual_seed(self.seed)
        directions = torch.randn(self.num_directions, size, generator=generator, dtype=torch.float64)
        steps = range(state.step, state.step + self.num_steps)
        with precision_of(task.precision).products(), twice_differentiable():
            return growth(followed(training, steps), directions.to(training.parameters[0]))


def followed(training: ManualTraining, steps: Sequence[int]) -> Iterator[tuple[SGDStep, Products]]:
    """Yields what SGD's steps do to small differences, and makes each step when the next one is asked for."""
    for step in steps:
        parameters = training.parameters
        loss = training.loss_at(step)()
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        yield _tangent(training.optimizer, parameters, gradients), _products(gradients, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.detach()
        training.optimizer.step()


def _products(gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]) -> Products:
    """Returns what multiplies directions by the Hessian of the loss whose gradients these are."""
    layout = ParameterLayout.of({str(i): parameter for i, parameter in enumerate(parameters)})
    curved = {str(i): each for i, each in enumerate(gradients) if each is not None and each.requires_grad}

    def product(direction: Tensor) -> Tensor:
        parts = layout.unflatten(direction)
        along = torch.stack([(gradient * parts[name]).sum() for name, gradient in curved.items()]).sum()
        products = torch.autograd.grad(along, parameters, retain_graph=True, materialize_grads=True)
        return torch.cat([part.reshape(-1) for part in products])

    return lambda directions: torch.stack([product(each) for each in directions]) if curved else 0 * directions


def _tangent(optimizer: Optimizer, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> SGDStep:
    """Returns the step of SGD as it acts on small differences, with the settings of each parameter's group.

    It leaves alone what no gradient reaches.
    """
    groups = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}

    def each(name: str) -> Tensor:
        return torch.cat([like.new_full((like.numel(),), groups[like][name]) for like in parameters])

    pairs = zip(parameters, gradients, strict=True)
    is_reached = torch.cat([like.new_full((like.numel(),), gradient is not None) for like, gradient in pairs])
    return SGDStep(each("lr") * is_reached, each("momentum"), each("weight_decay"), each("nesterov"))


def _not_followed(task: Task) -> str | None:
    """Returns why the steps of a task's training have no tangent here, or None."""
    configured = task.initialise(0).configure_optimizers()
    optimizer, precision = only_optimizer(configured), precision_of(task.precision)
    if type(optimizer) is not SGD:
        return f"only steps of SGD are followed, and the task has {type(optimizer).__name__}"
    if configured is not optimizer:
        return "the learning rate follows a schedule"
    if any(group["dampening"] or group["maximize"] for group in optimizer.param_groups):
        return "SGD dampens its momentum, or maximises"
    if task.gradient_clip_val is not None:
        return "gradients are clipped"
    if precision.autocast is not None or precision.weights not in (None, torch.float64):
        return f"training is in {task.precision}, which rounds small differences away"
    return changing_callbacks(task)
