import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from lmc_lab.data.order import DataOrder, branch_order, trunk_order
from lmc_lab.runs.paths import TRUNK, RunFolder, RunPaths, Seed, SplitFolder
from lmc_lab.runs.split import Split
from lmc_lab.tasks.task import Task

if TYPE_CHECKING:  # an analysis knows the experiment, too, and does without Lightning
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import Logger
from lmc_lab.values import Count, Natural, NotNegative


class BranchLength(StrEnum):
    """What T counts for a branch."""

    TO_TOTAL = "to_total"  # a branch ends at step T of the whole run, trunk included
    AFTER_SPLIT = "after_split"  # a branch trains T steps of its own: the literal reading of Algorithm 1


@dataclass(frozen=True)
class RunName:
    """What a run is, for those who log it."""

    task: str
    trunk_seed: int
    split_step: int | None = None  # None for the trunk
    seed: Seed | None = None

    @property
    def job_type(self) -> str:
        """Returns ``trunk`` or ``branch``."""
        return "trunk" if self.seed is None else "branch"

    @property
    def overrides(self) -> list[str]:
        """Returns what asks for a branch rather than for its trunk."""
        return [] if self.seed is None else [f"split_step={self.split_step}", f"seed={self.seed}"]

    def __str__(self) -> str:
        """Returns ``lenet/trunk-0`` or ``lenet/trunk-0/k=2000/branch-3``."""
        trunk = f"{self.task}/trunk-{self.trunk_seed}"
        return trunk if self.seed is None else f"{trunk}/k={self.split_step}/branch-{self.seed}"


@dataclass(frozen=True)
class RunSettings:
    """What a run does besides training; nothing here changes the weights.

    Args:
        log_every: steps whose mean loss makes one row of metrics.csv.
        resume_seconds: time between two states from which a killed run goes on.
        evaluate_every: steps between two evaluations on the test set, None for none.
        save_steps: steps on the way whose whole state is kept: those of a branch for a branch, those of a trunk for a trunk
            that is trained to T.
    """

    log_every: Count = 50
    resume_seconds: NotNegative = 60.0
    evaluate_every: Count | None = None
    save_steps: Sequence[Natural] = ()


@dataclass(frozen=True)
class Experiment:
    """One trunk of one task and the way its branches are made."""

    task: Task
    paths: RunPaths
    trunk_seed: int
    make_trainer: "Callable[..., Trainer]"
    make_logger: "Callable[[RunName, Mapping[str, Any]], Logger | None]"  # of a run and its config
    settings: RunSettings
    config: Mapping[str, Any]  # of the command
    make_callbacks: "Callable[[], Sequence[Callback]]" = tuple  # of the task: they may change the weights
    carry_optimizer_state: bool = True
    branch_length: BranchLength = BranchLength.TO_TOTAL
    given: tuple[str, ...] = ()  # on the command line: what makes this experiment of the defaults

    def training_command(self, *overrides: str) -> str:
        """Returns the command that trains this trunk, or with further overrides its branches, for the user to type."""
        trunk = f"trunk_seed={self.trunk_seed}"
        return shlex.join(["python", "-m", "lmc_lab.train", *self.given, trunk, *overrides])

    @property
    def trunk_folder(self) -> RunFolder:
        """Returns the trunk's folder."""
        return self.paths.trunk(self.trunk_seed)

    def config_of(self, name: RunName) -> dict[str, Any]:
        """Returns the config of one run: that of a command which trains several names all of their seeds."""
        return {**self.config, "seed": name.seed}

    def circumstances(self) -> dict[str, str]:
        """Returns what a run depends on and its address does not say, but for the user's own code."""
        return {"data": self.task.dataset.digest, "torch": version("torch"), "lmc_lab": version("lmc_lab")}

    @property
    def variant(self) -> str:
        """Returns what the split's folder name says of branches that are not made by default."""
        length = "" if self.branch_length is BranchLength.TO_TOTAL else f"-{self.branch_length}"
        return length + ("" if self.carry_optimizer_state else "-fresh_optimizer")

    def split_folder(self, step: int) -> SplitFolder:
        """Returns the folder of the split at `step`."""
        return self.paths.split(self.trunk_seed, step, self.variant)

    def split(self, step: int) -> Split:
        """Returns the split at `step`."""
        return Split(self.trunk_seed, step, str(self.branch_length), self.carry_optimizer_state)

    def last_step(self, split_step: int) -> int:
        """Returns the step at which a branch ends."""
        return self.task.max_steps + (split_step if self.branch_length is BranchLength.AFTER_SPLIT else 0)

    def trunk_order(self) -> DataOrder:
        """Returns z_0."""
        return trunk_order(self.trunk_seed, len(self.task.dataset.train), self.task.batch_size)

    def branch_order(self, seed: Seed) -> DataOrder:
        """Returns the data order of the branch with this seed; that of seed ``trunk`` is the trunk's own."""
        if seed == TRUNK:
            return self.trunk_order()
        return branch_order(self.trunk_seed, int(seed), len(self.task.dataset.train), self.task.batch_size)
