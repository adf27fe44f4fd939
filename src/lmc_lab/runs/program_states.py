"""What a program saves while it is trained: states of its members at exact steps, and one of all to resume from."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lmc_lab.runs import checkpoint
from lmc_lab.runs.checkpoint import State
from lmc_lab.runs.member import Member
from lmc_lab.runs.paths import address_of
from lmc_lab.runs.run import Company
from lmc_lab.runs.stacked_state import taken
from lmc_lab.runs.trajectories import Trajectories

IN_MEMORY = "in memory"  # in place of the path of a checkpoint


class ResumeFile:
    """The state from which a program goes on that is ended, and when it was saved last.

    Args:
        path: of the file.
        seconds: between two states.
    """

    def __init__(self, path: Path, *, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._saved = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Returns whether it is time to save."""
        return time.monotonic() - self._saved >= self._seconds

    def save(self, state: State, members: Sequence[Member]) -> None:
        """Saves the state of a program with these members."""
        addresses = [address_of(member.run.folder.resume) for member in members]
        checkpoint.save({"members": addresses, **state}, self._path)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Removes it."""
        self._path.unlink(missing_ok=True)


class ProgramStates(Callback):
    """Saves the wanted states of the members that are finite, and keeps the last state of all in memory.

    Args:
        members: that are trained.
        trajectories: of these.
        resume: of the program.
        stop: the step at which this stretch of the program ends.
        company_of: gives the company in which a member was trained up to now.
    """

    def __init__(
        self,
        members: Sequence[Member],
        trajectories: Trajectories,
        resume: ResumeFile,
        *,
        stop: int,
        company_of: Callable[[Member], Company],
    ) -> None:
        self._members = members
        self._trajectories = trajectories
        self._resume = resume
        self._stop = stop
        self._company_of = company_of
        self._wanted = {step for member in members for step in member.save_at}
        self.last: State = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves step 0."""
        if trainer.global_step == 0 and 0 in self._wanted:
            self._keep(self._state(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves if it is the last step, one of those that are wanted, or time."""
        step, is_due = trainer.global_step, self._resume.is_due
        if not (step == self._stop or trainer.should_stop or is_due or step in self._wanted):
            return
        self._trajectories.look_for_divergence(trainer)
        state = self._state(trainer)
        self._keep(state)
        if is_due:
            self._save(state)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves a state to resume from if training ends early."""
        if trainer.global_step < self._stop:
            self._save(self._state(trainer))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Saves after SIGTERM, of which Lightning makes an exception between two steps."""
        if isinstance(exception, SIGTERMException):
            self._trajectories.look_for_divergence(trainer)
            self._save(self._state(trainer))

    def _state(self, trainer: Trainer) -> State:
        trainer.save_checkpoint(IN_MEMORY)
        return self.last

    def _keep(self, state: State) -> None:
        step = state["global_step"]
        for i, member in enumerate(self._members):
            is_wanted = step in member.save_at and step not in member.run.folder.saved_steps()
            if is_wanted and i not in self._trajectories.diverged:
                circumstances = member.run.unusual_circumstances(self._company_of(member))
                checkpoint.save(taken(state, i) | circumstances, member.run.folder.step(step))
                member.on_saved(step)

    def _save(self, state: State) -> None:
        """Saves a state to resume from, unless somebody has diverged, whom the program goes on without."""
        if not self._trajectories.diverged:
            self._resume.save(state, self._members)


class InMemory(CheckpointIO):
    """Gives Lightning the state to begin with, and hands over those that it saves, without a file."""

    def __init__(self, begin: State, states: ProgramStates) -> None:
        self._begin = begin
        self._states = states

    def save_checkpoint(self, checkpoint: State, path: Any, storage_options: Any | None = None) -> None:
        """Hands Lightning's checkpoint over."""
        self._states.last = {**checkpoint, "data_digest": self._begin["data_digest"]}

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> State:
        """Returns the state to begin with."""
        return self._begin

    def remove_checkpoint(self, path: Any) -> None:
        """There is none."""
