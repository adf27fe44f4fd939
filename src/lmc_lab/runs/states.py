"""The states that a trunk, or a branch, left on disk on its way."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lmc_lab.errors import UserError
from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve_check import whole_curve
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.layout import RunFolder
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
class Trunk:
    """A trunk's states and its loss curve."""

    trunk_seed: int
    states: tuple[RunState, ...]
    curve: tuple[Mapping[str, str], ...]  # rows of metrics.csv

    @property
    def digests(self) -> tuple[str, ...]:
        """Returns the digests of the states, or without any that of the curve."""
        of_states = tuple(state.digest for state in self.states)
        return of_states or (hashlib.sha256(json.dumps(self.curve).encode()).hexdigest(),)


def load_trunk(experiment: Experiment, steps: Sequence[int] | None = None) -> Trunk:
    """Returns the trunk with its states at `steps`, or with all that were saved; no other is looked at.

    Raises:
        UserError: one of them, or all, or the curve are missing.
    """
    folder = experiment.trunk_folder
    saved, curve = folder.saved_steps(), tuple(whole_curve(folder))
    if not saved and not curve:
        raise UserError(
            f"expected saved states of a trunk in {folder.path}, found none; train it first: "
            f"{experiment.training_command()}"
        )
    states = tuple(load_states(experiment.task, folder, sorted(saved if steps is None else steps)))
    return Trunk(experiment.trunk_seed, states, curve)


def load_states(task: Task, folder: RunFolder, steps: Sequence[int]) -> list[RunState]:
    """Returns the states of the run in `folder` at `steps`.

    Raises:
        UserError: one is missing, damaged, or was trained on other data.
    """
    found = []
    for step in steps:
        if not folder.step(step).exists():
            raise UserError(
                f"expected the state at step {step} in {folder.path}, found none; "
                f"give the command that trained it once more, with 'run.save_steps=[{step}]'"
            )
        stored = checkpoint.load(folder.step(step))
        checkpoint.check_data(stored.state, task.dataset.digest, folder.step(step))
        model = checkpoint.module_state(stored.state)
        buffers = {name: value[None] for name, value in task.layout.own_buffers(model, folder.step(step)).items()}
        optimizer = stored.state["optimizer_states"][0]
        found.append(RunState(step, task.layout.theta(model, folder.step(step)), buffers, optimizer, stored.digest))
    return found
