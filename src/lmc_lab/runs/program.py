"""Several runs of one task as one program, all at the same step: a run joins where it begins and leaves where it ends."""

import gc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from lmc_lab import termination
from lmc_lab.data.together import BatchesTogether
from lmc_lab.runs.callbacks import CallbackGroup, Heartbeat, OptimizerLayout, StepNoise
from lmc_lab.runs.checkpoint import State
from lmc_lab.runs.copies_module import CopiesModule
from lmc_lab.runs.fit import initialised, make_trainer, products_of
from lmc_lab.runs.gradients import Capture
from lmc_lab.runs.member import Member
from lmc_lab.runs.program_states import IN_MEMORY, InMemory, ProgramStates, ResumeFile
from lmc_lab.runs.run import Company
from lmc_lab.runs.stacked_state import shared, stacked, taken
from lmc_lab.runs.status import Diverged, Stopped
from lmc_lab.runs.trajectories import Trajectories
from lmc_lab.stacked.copies import Randomness
from lmc_lab.tasks.noise import draws_numbers


class Program:
    """Trains members together.

    Args:
        members: of one task and of examples of their own order; each under its lock.
        resume: where the state of all of them is kept, should they be ended.
        randomness: of layers that draw numbers.
        on_diverged: is called with a member that ceased to be numbers.
    """

    def __init__(
        self,
        members: Sequence[Member],
        resume: Path,
        *,
        randomness: Randomness = "error",
        on_diverged: Callable[[Member, Diverged], None],
    ) -> None:
        first = members[0].run
        self._waiting = sorted(members, key=lambda member: member.start)
        self._states: dict[Member, State] = {}  # of those that are being trained
        self._together: Counter[Member] = Counter()  # with how many each of them was trained at most, itself included
        with products_of(first):
            self._has_noise = randomness == "different" and draws_numbers(first.task)
        self._errors: list[Exception] = []
        self._resume = ResumeFile(resume, seconds=first.experiment.settings.resume_seconds)
        self._examples = first.examples  # of all members; put where they are trained once
        self._randomness = randomness
        self._capture = Capture(first.experiment.settings.capture)
        self._on_diverged = on_diverged

    def train(self) -> None:
        """Trains all members to their ends; what cannot stand beside the others is trained after them.

        Raises:
            Stopped: training ended early.
            SystemExit: SIGTERM came; a state to resume from is saved.
        """
        with termination.after_the_step():
            while self._waiting:
                self._train_in_step()

    def _train_in_step(self) -> None:
        """Trains the members whose states can be stacked, from the first step of any of them to the last; the others wait."""
        later: list[Member] = []
        while self._states or self._waiting:
            self._join(later)
            if termination.is_requested():
                self._save()
                raise SystemExit(termination.EXIT_CODE)
            self._train_until(min(member.stop for member in self._states))
            self._complete()
        self._waiting = later
        self._resume.remove()

    def _join(self, later: list[Member]) -> None:
        """Adds the waiting members that start at this step; one whose optimizer's state cannot be stacked goes into `later`."""
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
        stop = min([stop, *(member.start for member in self._waiting)])
        members = list(self._states)
        run = members[0].run
        for member in members:
            self._together[member] = max(self._together[member], len(members))
        trajectories = Trajectories(
            [member.curve for member in members],
            log_every=run.experiment.settings.log_every,
            last_steps=[member.run.last_step for member in members],
        )
        states = ProgramStates(members, trajectories, self._resume, stop=stop, company_of=self._company_of)
        trainer = self._trainer(members, trajectories, states, stop)
        module = CopiesModule(initialised(run), len(members), randomness=self._randomness, capture=self._capture)
        with products_of(run):
            trainer.fit(module, self._batches(members, trainer.strategy.root_device), ckpt_path=IN_MEMORY)
        module.release()
        self._take(members, states.last, trajectories)
        if trainer.global_step < stop and not trajectories.diverged:
            raise Stopped(
                f"expected {_name_of(members)} to train up to step {stop}, found that training ended at step "
                f"{trainer.global_step}; give the same command again to go on from there"
            )

    def _trainer(
        self, members: Sequence[Member], trajectories: Trajectories, states: ProgramStates, stop: int
    ) -> Trainer:
        callbacks = _ProgramCallbacks(
            OptimizerLayout(),
            StepNoise(members[0].run.order(self._examples)),
            trajectories,
            states,
            Heartbeat({member.run.folder: member.stop for member in members}, name=_name_of(members)),
        )
        io = InMemory(stacked(list(self._states.values())), states)
        return make_trainer(members[0].run, stop=stop, io=io, callbacks=[callbacks])

    def _batches(self, members: Sequence[Member], device: torch.device) -> BatchesTogether:
        _free_memory(device)
        task = members[0].run.task
        if task.transform is None:
            self._examples = self._examples.on(device)  # once for all stretches
        noise = members[0].run.experiment.variation.noise
        return BatchesTogether(
            self._examples,
            [member.run.order(self._examples) for member in members],
            targets=[member.run.examples.targets for member in members] if noise and noise.has_own_labels else None,
            start=self._step,
            augment=task.dataset.augment,
            transform=task.transform,
            device=device,
        )

    def _take(self, members: Sequence[Member], state: State, trajectories: Trajectories) -> None:
        """Takes the members' states out of that of the program; those that diverged leave."""
        self._states = {}
        for i, member in enumerate(members):
            if divergence := trajectories.diverged.get(i):
                self._on_diverged(member, Diverged(str(member.run.name), divergence.step, divergence.last_finite_loss))
            else:
                self._states[member] = taken(state, i)

    def _complete(self) -> None:
        """Completes the members that are at their ends; what goes wrong with one of them is said when all are."""
        errors = []
        for member in [member for member, state in self._states.items() if state["global_step"] == member.stop]:
            state = self._states.pop(member)
            try:
                member.complete(state, self._company_of(member))
            except Diverged as error:
                self._on_diverged(member, error)
            except Exception as error:
                errors.append(error)
        if errors:
            self._save()
            raise errors[0]

    def _company_of(self, member: Member) -> Company:
        return Company(self._together[member], is_captured=self._capture.is_done, has_noise=self._has_noise)

    def _save(self) -> None:
        """Saves the state of those that are in."""
        if self._states:
            self._resume.save(stacked(list(self._states.values())), list(self._states))


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
        (trajectories,) = (part for part in self._parts if isinstance(part, Trajectories))
        return trajectories


def _free_memory(device: torch.device) -> None:
    """Gives back what an earlier stretch has left on a GPU: its module and its trainer know each other."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def _name_of(members: Sequence[Member]) -> str:
    first = members[0].run.name
    return str(first) if len(members) == 1 else f"{first} and {len(members) - 1} more"
