"""Several runs of one task as one program, all at the same step: a run joins where it begins and leaves where it ends."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lmc_lab import termination
from lmc_lab.data.together import BatchesTogether
from lmc_lab.runs import checkpoint
from lmc_lab.runs.callbacks import CallbackGroup, Heartbeat, OptimizerLayout, StepNoise
from lmc_lab.runs.checkpoint import State
from lmc_lab.runs.copies_module import CopiesModule
from lmc_lab.runs.fit import initialised, make_trainer, products_of
from lmc_lab.runs.member import Member
from lmc_lab.runs.paths import place_of
from lmc_lab.runs.stacked_state import shared, stacked, taken
from lmc_lab.runs.status import Diverged, Stopped
from lmc_lab.runs.trajectories import Trajectories
from lmc_lab.stacked.copies import without_advice

Randomness = Literal["error", "different"]


class Program:
    """Trains members together.

    Args:
        members: of one task and of examples of their own order; each under its lock.
        resume: where the state of all of them is kept, should they be ended.
        randomness: of layers that draw numbers.
        on_diverged: is told of a member that ceased to be numbers.
    """

    def __init__(
        self,
        members: Sequence[Member],
        resume: Path,
        *,
        randomness: Randomness = "error",
        on_diverged: Callable[[Member, Diverged], None],
    ) -> None:
        self._waiting = sorted(members, key=lambda member: member.start)
        self._states: dict[Member, State] = {}  # of those that are being trained
        self._resume = resume
        self._randomness = randomness
        self._on_diverged = on_diverged

    def train(self) -> None:
        """Trains all members to their ends; what cannot stand beside the others is trained after them.

        Raises:
            Stopped: training ended early.
        """
        while self._waiting:
            self._train_in_step()

    def _train_in_step(self) -> None:
        """Trains a program of those that go together, from the first step of any to the last of any."""
        later: list[Member] = []
        while self._states or self._waiting:
            self._join(later)
            self._train_until(min(member.stop for member in self._states))
            for member in [member for member, state in self._states.items() if state["global_step"] == member.stop]:
                self._complete(member)
        self._waiting = later
        self._resume.unlink(missing_ok=True)

    def _join(self, later: list[Member]) -> None:
        """Lets in who begins at this step; who counts other steps of the optimizer is for later."""
        step = self._step if self._states else self._waiting[0].start
        while self._waiting and self._waiting[0].start == step:
            member = self._waiting.pop(0)
            others = next(iter(self._states.values()), member.begin)
            if shared(member.begin) == shared(others):
                self._states[member] = member.begin
            else:
                later.append(member)

    @property
    def _step(self) -> int:
        return int(next(iter(self._states.values()))["global_step"])

    def _train_until(self, stop: int) -> None:
        """Trains those that are in to `stop`, or to where somebody joins or one of them diverges."""
        joining = [member.start for member in self._waiting]
        stop = min([stop, *joining])
        members = list(self._states)
        run = members[0].run
        task, settings = run.task, run.experiment.settings
        trajectories = Trajectories([member.curve for member in members], log_every=settings.log_every)
        states = _MemberStates(members, trajectories, self._resume, stop=stop, seconds=settings.resume_seconds)
        orders = [member.run.order(member.run.examples) for member in members]
        trainer = make_trainer(
            run,
            stop=stop,
            io=states.io(stacked(list(self._states.values()))),
            callbacks=[
                _ProgramCallbacks(
                    OptimizerLayout(),
                    StepNoise(orders[0]),
                    trajectories,
                    states,
                    Heartbeat({member.run.folder: member.stop for member in members}, name=_name_of(members)),
                ),
            ],
        )
        module = CopiesModule(initialised(run), len(members), randomness=self._randomness, captures=settings.capture)
        batches = BatchesTogether(
            run.examples,
            orders,
            start=self._step,
            augment=task.dataset.augment,
            device=trainer.strategy.root_device,
        )
        with termination.after_the_step(), without_advice(), products_of(run):
            trainer.fit(module, batches, ckpt_path=_IN_MEMORY)
        self._take(members, states.last, trajectories)
        if trainer.global_step < stop and not trajectories.diverged:
            raise Stopped(
                f"expected {_name_of(members)} to train up to step {stop}, found that training ended at step "
                f"{trainer.global_step}; after trainer.max_time give the same command again to go on from there"
            )

    def _take(self, members: Sequence[Member], state: State, trajectories: Trajectories) -> None:
        """Takes the members' states out of that of the program; those that diverged leave."""
        self._states = {}
        for i, member in enumerate(members):
            if found := trajectories.diverged.get(i):
                self._on_diverged(member, Diverged(str(member.run.name), found.step, found.last_finite_loss))
            else:
                self._states[member] = taken(state, i)

    def _complete(self, member: Member) -> None:
        state = self._states.pop(member)
        try:
            member.complete(state)
        except Diverged as error:
            self._on_diverged(member, error)


_IN_MEMORY = "in memory"  # in place of the path of a checkpoint


class _ProgramCallbacks(CallbackGroup):
    """Callbacks of a program, whose state is that of its trajectories."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the states of the members."""
        return self._trajectories.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Gives the members theirs."""
        self._trajectories.load_state_dict(state_dict)

    @property
    def _trajectories(self) -> Trajectories:
        (found,) = (part for part in self._parts if isinstance(part, Trajectories))
        return found


class _MemberStates(Callback):
    """Saves the states of members at exact steps, and that of the program to resume from; keeps the last one."""

    def __init__(
        self, members: Sequence[Member], trajectories: Trajectories, resume: Path, *, stop: int, seconds: float
    ) -> None:
        self._members = members
        self._trajectories = trajectories
        self._resume = resume
        self._stop = stop
        self._seconds = seconds
        self._saved = time.monotonic()
        self._wanted = {step for member in members for step in member.save_at}
        self.last: State = {}

    def io(self, begin: State) -> CheckpointIO:
        """Returns what gives Lightning the state to begin with, and takes those that it saves."""
        return _InMemory(begin, self)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves step 0."""
        if trainer.global_step == 0 and 0 in self._wanted:
            self._keep(self._state(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves what is to be saved at this step."""
        is_last = trainer.global_step == self._stop or trainer.should_stop
        is_time = time.monotonic() - self._saved >= self._seconds
        if not (is_last or is_time or trainer.global_step in self._wanted):
            return
        state = self._state(trainer)
        self._keep(state)
        if is_time and not is_last:
            self._save(state)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves a state to resume from if steps are left."""
        if trainer.global_step < self._stop and not self._trajectories.diverged:
            self._save(self._state(trainer))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Saves after SIGTERM, of which Lightning makes an exception between two steps."""
        if isinstance(exception, SIGTERMException) and trainer.global_step < self._stop:
            self._save(self._state(trainer))

    def _state(self, trainer: Trainer) -> State:
        trainer.save_checkpoint(_IN_MEMORY)
        return self.last

    def _keep(self, state: State) -> None:
        for i, member in enumerate(self._members):
            if state["global_step"] in member.save_at and i not in self._trajectories.diverged:
                member.keep(taken(state, i))

    def _save(self, state: State) -> None:
        names = [place_of(member.run.folder.resume) for member in self._members]
        checkpoint.save({"members": names, **state}, self._resume)
        self._saved = time.monotonic()


class _InMemory(CheckpointIO):
    """Hands states over without a file."""

    def __init__(self, begin: State, states: _MemberStates) -> None:
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


def _name_of(members: Sequence[Member]) -> str:
    first = members[0].run.name
    return str(first) if len(members) == 1 else f"{first} and {len(members) - 1} more"
