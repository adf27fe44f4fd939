"""Training by hand from a state of a trunk on, for questions about single steps: without Lightning, files and callbacks."""

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from lmc_lab.data.examples import Examples
from lmc_lab.data.order import DataOrder, StepBatches
from lmc_lab.generators import seed_generators
from lmc_lab.inputs import each
from lmc_lab.landscape.parameters import state_at
from lmc_lab.runs.states import RunState
from lmc_lab.tasks.precision import Precision, precision_of
from lmc_lab.tasks.supervised import SupervisedTask, only_optimizer
from lmc_lab.tasks.task import Task


class ManualTraining:
    """A task at a state of a trunk, in the precision of training, with the batches that it goes on with.

    Args:
        task: that is trained.
        trunk_seed: of the trunk whose state it is.
        state: where it begins; the optimizer has the trunk's state.
        examples: that it sees.
        order: in which it does.
        device: where.
    """

    def __init__(
        self,
        task: Task,
        trunk_seed: int,
        state: RunState,
        examples: Examples,
        order: DataOrder,
        *,
        device: torch.device,
    ) -> None:
        self._task, self._layout, self._device = task, task.layout, device
        self._batches = StepBatches(examples, order, 0, task.dataset.augment, task.transform)
        self._precision = precision_of(task.precision)
        self._module = self._precision.convert_module(task.initialise(trunk_seed)).to(device)
        task.layout.load(self._module, state.theta, state_at(state.buffers, 0))
        self.optimizer = only_optimizer(self._module.configure_optimizers())
        self.optimizer.load_state_dict(copy.deepcopy(dict(state.optimizer)))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All parameters that are trained."""
        return [parameter for parameter in self._module.parameters() if parameter.requires_grad]

    @property
    def theta(self) -> Tensor:
        """Where it is, (D,)."""
        return self._layout.parameters.flatten(dict(self._module.named_parameters())).detach()

    @property
    def buffers(self) -> dict[str, Tensor]:
        """The buffers of the point where it is, (1, *shape) by name, as a `RunState` has them."""
        values = dict(self._module.named_buffers())
        return {
            name: values[name].detach()[None].to(self._layout.dtypes[name], copy=True) for name in self._layout.buffers
        }

    def loss_at(self, step: int) -> Callable[[], Tensor]:
        """Returns what computes the training loss of a step, on its batch and with its noise, which is seeded here."""
        return loss_of_batch(self._module, self._precision, self._batches, step, device=self._device)

    def advance(self, step: int) -> None:
        """Makes a step of training, with its clipping of gradients, at the rate that the optimizer has."""
        training_loss = self.loss_at(step)

        def closure() -> Tensor:  # an optimizer may ask for it several times
            self.optimizer.zero_grad()
            loss = training_loss()
            loss.backward()  # type: ignore[no-untyped-call]
            _clip(self._task, self.parameters)
            return loss

        with self._precision.products():
            self.optimizer.step(closure)  # type: ignore[arg-type]  # as Lightning does, whatever the closure returns


def changing_callbacks(task: Task) -> str | None:
    """Returns which of a task's callbacks may change its steps, as the rest of a sentence: all but averages beside them.

    Training by hand does without callbacks, and is then not the trunk's.
    """
    callbacks = task.make_callbacks()
    if not callbacks:
        return None
    from lightning.pytorch.callbacks import WeightAveraging

    names = [type(callback).__name__ for callback in callbacks if not isinstance(callback, WeightAveraging)]
    return f"task.callbacks may change its steps ({', '.join(names)})" if names else None


def _clip(task: Task, parameters: Iterable[nn.Parameter]) -> None:
    if task.gradient_clip_val is not None:
        clip: Callable[..., object] = clip_grad_value_ if task.gradient_clip_algorithm == "value" else clip_grad_norm_
        clip(parameters, task.gradient_clip_val)


def loss_of_batch(
    module: SupervisedTask, precision: Precision, batches: StepBatches, step: int, *, device: torch.device
) -> Callable[[], Tensor]:
    """Returns what computes the training loss of a step, on its batch and with its noise, which is seeded here."""
    seed_generators(batches.order.noise_seed(step))
    inputs, targets = batches.at(step)
    batch = each(lambda tensor: precision.convert(tensor.to(device)), inputs), precision.convert(targets.to(device))

    def loss() -> Tensor:
        with precision.forward(device.type):
            return module.training_loss(batch)

    return loss
