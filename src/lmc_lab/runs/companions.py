"""Which runs of a task can be trained as one program."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from lmc_lab.errors import one_line
from lmc_lab.generators import forked_generators, generator_states
from lmc_lab.runs.checkpoint import CALLBACK_GROUP, State
from lmc_lab.runs.copies_module import CopiesModule
from lmc_lab.runs.fit import products_of
from lmc_lab.runs.run import Run
from lmc_lab.runs.stacked_state import shared, stacked, taken
from lmc_lab.runs.trial import Batch, TriedModels, converted, stacked_on
from lmc_lab.tasks.noise import draws_numbers
from lmc_lab.tasks.precision import precision_of
from lmc_lab.tasks.supervised import SupervisedTask, only_optimizer
from lmc_lab.tasks.task import ClipAlgorithm, Task

_NUM_STEPS = 3
_NUM_EXAMPLES = 8  # of a batch, or as many as it has if these are fewer
_AGREEMENT = 1e-10
_CPU = torch.device("cpu")


def why_alone(run: Run, *, allows_noise: bool, device: torch.device = _CPU) -> str | None:
    """Returns why runs of this task are to be trained one by one, or None if they need not.

    Args:
        run: one of them.
        allows_noise: layers may draw numbers, which then depend on the company.
        device: where they are trained.
    """
    task, trainer = run.task, run.experiment.config.get("trainer")
    if task.make_callbacks():
        return "task.callbacks see one model"
    if run.experiment.settings.evaluate_every:
        return "run.evaluate_every measures one model"
    if task.gradient_clip_val is not None and task.gradient_clip_algorithm is ClipAlgorithm.NORM:
        return "gradients are clipped by the norm of one model's"
    if isinstance(trainer, Mapping) and trainer.get("max_time"):
        return "trainer.max_time is that of one model"
    batches = _batches(run)
    try:
        with forked_generators(), products_of(run):
            if run.experiment.variation.noise and draws_numbers(task):
                return "layers draw numbers (dropout), which would depend on the company and not on branch.noise alone"
            return _why_not_alike(task, batches, allows_noise=allows_noise) or _why_not_here(run, batches, device)
    except Exception as error:  # whatever a model or an optimizer of the user's cannot do
        return f"a trial of two models together failed ({one_line(error)[:200]})"


def _batches(run: Run) -> list[Batch]:
    """Returns a small batch for each of two models."""
    examples = run.examples
    size = min(_NUM_EXAMPLES, run.task.batch_size, len(examples) // 2)
    drawn = examples.draw(2 * size)
    return [drawn.batch(slice(i * size, (i + 1) * size)) for i in range(2)]


def _why_not_alike(task: Task, batches: list[Batch], *, allows_noise: bool) -> str | None:
    """Returns in what two models that train together differ from two that train alone, in float64, if in anything.

    Each takes a step alone. Then their states become one, as those of runs that join a program do, and two more steps are taken
    both ways.
    """
    precision = precision_of("64-true")
    with precision.forward():
        alone = [_Alone(task.initialise(i).double(), converted(batch, precision)) for i, batch in enumerate(batches)]
        is_random = any([each.draws() for each in alone])
        if is_random and not allows_noise:
            return "layers draw numbers (dropout), which would depend on the company; run.together=20, say, allows that"
        if any(each.has_changed_unsaved_buffers for each in alone):
            return "buffers that are not in the model's state dict change in training"
        together = _Together(task, [each.state() for each in alone], is_random=is_random)
        for _ in range(_NUM_STEPS - 1):
            together.step([each.batch for each in alone])
            for each in alone:
                each.step()
    if is_random:
        return None  # other noise, other weights
    worst = max(_difference(taken(together.state(), i), each.state()) for i, each in enumerate(alone))
    return None if worst <= _AGREEMENT else f"{_NUM_STEPS} steps together differ by {worst:.1g} from {_NUM_STEPS} alone"


def _why_not_here(run: Run, batches: list[Batch], device: torch.device) -> str | None:
    """Takes a step of two models in the precision, and on the device, in which the run is trained; raises what goes wrong."""
    trial = TriedModels(run, batches, device)
    trial.compute_gradients()
    trial.step()
    return None


class _Alone:
    """A model that trains by itself on one batch."""

    def __init__(self, module: SupervisedTask, batch: Batch) -> None:
        self.module, self.batch = module, batch
        self._optimizer = only_optimizer(module.configure_optimizers())
        saved = module.state_dict()
        unsaved = {name: value for name, value in module.named_buffers() if name not in saved}
        self._unsaved = {name: value.clone() for name, value in unsaved.items()}

    @property
    def has_changed_unsaved_buffers(self) -> bool:
        buffers = dict(self.module.named_buffers())
        return any(not torch.equal(buffers[name], value) for name, value in self._unsaved.items())

    def step(self) -> None:
        self._optimizer.zero_grad()
        self.module.training_loss(self.batch).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def draws(self) -> bool:
        """Takes a step; returns whether it draws random numbers."""
        before = generator_states()
        self.step()
        return before != generator_states()

    def state(self) -> State:
        return _state(self.module.state_dict(), self._optimizer)


class _Together:
    """Two models as one, from the states of both."""

    def __init__(self, task: Task, states: list[State], *, is_random: bool) -> None:
        if shared(states[0]) != shared(states[1]):
            raise ValueError("an optimizer that has other numbers for other models")
        both = stacked(states)
        self._module = CopiesModule(
            task.initialise(0).double(), len(states), randomness="different" if is_random else "error"
        )
        self._module.load_state_dict(both["state_dict"])
        self._optimizer = only_optimizer(self._module.configure_optimizers())
        self._optimizer.load_state_dict(both["optimizer_states"][0])

    def step(self, batches: list[Batch]) -> None:
        self._module.training_step(stacked_on(_CPU, batches), 0)
        self._optimizer.step()

    def state(self) -> State:
        members: dict[str, Any] = {CALLBACK_GROUP: {"members": [{}, {}]}}
        return _state(self._module.state_dict(), self._optimizer) | {"callbacks": members}


def _state(weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> State:
    """Returns as much of a checkpoint as becomes one with others, in memory of its own."""
    state = {
        "global_step": 0,
        "lr_schedulers": [],
        "state_dict": dict(weights),
        "optimizer_states": [optimizer.state_dict()],
        "callbacks": {},
    }
    return copy.deepcopy(state)


def _difference(found: State, expected: State) -> float:
    """Returns the largest difference of a weight, a buffer, or a number that the optimizer keeps."""
    return max(_differences(found["state_dict"], expected["state_dict"]), default=0.0) + max(
        (
            number
            for key, entry in expected["optimizer_states"][0]["state"].items()
            for number in _differences(found["optimizer_states"][0]["state"][key], entry)
        ),
        default=0.0,
    )


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[float]:
    for name, value in expected.items():
        if isinstance(value, Tensor):
            yield float((found[name].double() - value.double()).abs().max())
