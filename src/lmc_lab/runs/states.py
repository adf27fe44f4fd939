"""The states that a trunk, or a branch, left on disk on its way."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from torch import Tensor

from lmc_lab.errors import UserError
from lmc_lab.results.part import Part
from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve_check import whole_curve
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.paths import RunFolder
from lmc_lab.runs.subject import Request, Subject
from lmc_lab.tasks.task import Task


@dataclass(frozen=True)
class RunState:
    """Weights, buffers and optimizer state of a run at one step."""

    step: int
    theta: Tensor  # (D,)
    buffers: Mapping[str, Tensor]  # name -> (1, *shape), as those of one endpoint
    optimizer: Mapping[str, Any]  # a state dict
    digest: str


@dataclass(frozen=True)
class Trunk(Subject):
    """A trunk's states at some steps, and its loss curve."""

    stage: ClassVar[str] = "trunk-states"
    has_branches: ClassVar[bool] = False

    trunk_seed: int
    steps: tuple[int, ...]
    folder: RunFolder
    task: Task

    @property
    def parts(self) -> tuple[Part, ...]:
        """The trunk."""
        return (Part(self.trunk_seed),)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """The digests of the states, or without any that of the curve."""
        if not self.steps:
            return (hashlib.sha256(json.dumps(self.curve).encode()).hexdigest(),)
        return tuple(checkpoint.identify(self.folder.step(step)).digest for step in self.steps)

    @cached_property
    def states(self) -> tuple[RunState, ...]:
        """The state at each of the steps."""
        return tuple(load_states(self.task, self.folder, self.steps))

    @cached_property
    def curve(self) -> tuple[Mapping[str, str], ...]:
        """The rows of metrics.csv."""
        return tuple(whole_curve(self.folder))

    @classmethod
    def load(cls, experiment: Experiment, request: Request) -> Self:
        """Returns the experiment's trunk, whatever else is named."""
        return cls(experiment.trunk_seed, _saved(experiment, request.steps), experiment.trunk_folder, experiment.task)

    @classmethod
    def in_study(cls, trunks: Sequence[int], steps: Sequence[int], seeds: Sequence[int]) -> list[tuple[Part, ...]]:
        """Returns each trunk."""
        return [(Part(trunk),) for trunk in trunks]

    @classmethod
    def sweep(cls, trunks: str, splits: str, seeds: str) -> list[str]:
        """Returns the override that asks for each trunk."""
        return [f"trunk_seed={trunks}"]


def load_trunk(experiment: Experiment, steps: Sequence[int] | None = None) -> Trunk:
    """Returns the trunk with its states at `steps`, or with all that were saved; no other is looked at.

    Raises:
        UserError: one of them, or all, or the curve are missing.
    """
    return Trunk.load(experiment, Request(steps=steps))


def _saved(experiment: Experiment, steps: Sequence[int] | None) -> tuple[int, ...]:
    """Returns `steps`, or those of all states that were saved.

    Raises:
        UserError: none is there, or one of them is missing.
    """
    folder = experiment.trunk_folder
    saved = folder.saved_steps()
    if not saved and not folder.metrics.exists():
        raise UserError(
            f"expected saved states of a trunk in {folder.path}, found none; train it first: "
            f"{experiment.training_command()}"
        )
    steps_on_disk = tuple(sorted(saved if steps is None else steps))
    check_saved(folder, steps_on_disk)
    return steps_on_disk


def check_saved(folder: RunFolder, steps: Sequence[int]) -> None:
    """Refuses steps at which a run did not save its state.

    Raises:
        UserError: there is one.
    """
    for step in steps:
        if not folder.step(step).exists():
            raise UserError(
                f"expected the state at step {step} in {folder.path}, found none; "
                f"give the command that trained it once more, with 'run.save_steps=[{step}]'"
            )


def load_states(task: Task, folder: RunFolder, steps: Sequence[int]) -> list[RunState]:
    """Returns the states of the run in `folder` at `steps`.

    Raises:
        UserError: one is missing, damaged, or was trained on other data.
    """
    check_saved(folder, steps)
    states = []
    for step in steps:
        stored = checkpoint.load(folder.step(step))
        checkpoint.check_data(stored.state, task.dataset.digest, folder.step(step))
        model = checkpoint.module_state(stored.state)
        buffers = {name: value[None] for name, value in task.layout.own_buffers(model, folder.step(step)).items()}
        optimizer = stored.state["optimizer_states"][0]
        states.append(RunState(step, task.layout.theta(model, folder.step(step)), buffers, optimizer, stored.digest))
    return states
