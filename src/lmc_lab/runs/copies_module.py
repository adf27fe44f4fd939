"""How Lightning trains several runs of one task as one program."""

from typing import Any, final

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lmc_lab.inputs import Inputs
from lmc_lab.runs.gradients import Capture, CapturedGradients, EagerGradients, Gradients
from lmc_lab.stacked.copies import Copies, Randomness, stack
from lmc_lab.tasks.supervised import SupervisedTask, only_optimizer


@final
class CopiesModule(LightningModule):
    """n copies of a task, whose parameters and buffers are leaves (n, *shape), under the task's own names.

    The task's own optimizer steps them all: what acts on each number by itself does to n tensors at once what it does to one.

    Args:
        task: the skeleton; its weights are what the copies begin with until a checkpoint is loaded.
        count: n.
        randomness: of layers that draw numbers: ``error``, or ``different`` for each copy.
        capture: whether to make a CUDA graph of the step, on a GPU; not for None.
    """

    def __init__(
        self,
        task: SupervisedTask,
        count: int,
        *,
        randomness: Randomness = "error",
        capture: Capture | None = None,
    ) -> None:
        super().__init__()
        self.task = task
        self.losses = torch.zeros(count)  # of the last batch, (n,)
        self._capture = capture or Capture()
        self._gradients: Gradients | None = None
        self._copies = Copies(_TrainingLoss(task), randomness=randomness)
        parameters = dict(task.named_parameters())
        self.leaves = nn.ParameterList(
            nn.Parameter(value, requires_grad=parameters[name].requires_grad)
            for name, value in stack(parameters, count).items()
        )
        self._leaf_names = list(parameters)
        buffers = stack(dict(task.named_buffers()), count)
        self._buffer_names = list(buffers)
        for i, value in enumerate(buffers.values()):
            self.register_buffer(f"buffer_{i}", value)

    def training_step(self, batch: tuple[Inputs, Tensor], batch_idx: int) -> Tensor:
        """Computes gradients, and returns the sum of the copies' losses: each leaf's row has the gradient of its own loss.

        Args:
            batch: inputs and targets of each copy, (n, B, ...).
            batch_idx: of Lightning.
        """
        if self._gradients is None:
            self._gradients = self._made_gradients()
        self.losses = self._gradients(batch)
        return self.losses.sum()

    def _made_gradients(self) -> Gradients:
        """Returns what computes gradients, made when all tensors are where they are trained."""
        tensors = {f"task.{name}": value for name, value in self._tensors().items()}

        def losses(batch: tuple[Inputs, Tensor]) -> Tensor:
            return self._copies(tensors, *batch)

        if self._capture.wanted and self.device.type == "cuda":
            return CapturedGradients(losses, list(self.leaves), list(self.buffers()), self._capture)
        return EagerGradients(losses, list(self.leaves))

    def release(self) -> None:
        """Forgets the graph of the step, and with it the memory of a GPU that it holds."""
        self._gradients = None

    def backward(self, loss: Tensor, *args: Any, **keywords: Any) -> None:
        """Does nothing: the step has the gradients already."""

    def optimizer_zero_grad(self, *args: Any, **keywords: Any) -> None:
        """Does nothing: a step's gradients take the place of the last one's."""

    def configure_optimizers(self) -> Any:
        """Returns the task's optimizer and its schedule, made on one model, with the leaves in its groups."""
        configured = self.task.configure_optimizers()
        leaf_of = {id(parameter): leaf for parameter, leaf in zip(self.task.parameters(), self.leaves, strict=True)}
        for group in only_optimizer(configured).param_groups:
            group["params"] = [leaf_of[id(parameter)] for parameter in group["params"]]
        return configured

    def state_dict(self, *args: Any, **keywords: Any) -> dict[str, Any]:  # type: ignore[override]
        """Returns the state of the task, each tensor (n, *shape)."""
        tensors = self._by_every_name()
        return {name: tensors[name].detach() for name in self.task.state_dict()}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> None:
        """Copies a state of the task, each tensor (n, *shape), into the leaves and buffers."""
        tensors = self._by_every_name()
        with torch.no_grad():
            for name, value in state_dict.items():
                tensors[name].copy_(value)

    def _tensors(self) -> dict[str, Tensor]:
        buffers = (getattr(self, f"buffer_{i}") for i in range(len(self._buffer_names)))
        return {
            **dict(zip(self._leaf_names, self.leaves, strict=True)),
            **dict(zip(self._buffer_names, buffers, strict=True)),
        }

    def _by_every_name(self) -> dict[str, Tensor]:
        """Returns the leaves and buffers by all names that the task has for them: a shared tensor has several."""
        tensors = self._tensors()
        first = {id(value): name for name, value in (*self.task.named_parameters(), *self.task.named_buffers())}
        every = (
            *self.task.named_parameters(remove_duplicate=False),
            *self.task.named_buffers(remove_duplicate=False),
        )
        return {name: tensors[first[id(value)]] for name, value in every}


class _TrainingLoss(nn.Module):
    """A task's training loss as what a module returns."""

    def __init__(self, task: SupervisedTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, inputs: Inputs, targets: Tensor) -> Tensor:
        return self.task.training_loss((inputs, targets))
