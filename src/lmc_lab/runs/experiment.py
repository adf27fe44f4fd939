"""A task, a trunk and the settings of its branches: what a command trains."""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lmc_lab.runs.paths import RunFolder, RunPaths, Seed, SplitFolder
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.split import BranchLength, Split
from lmc_lab.runs.variation import Variation
from lmc_lab.tasks.device import name_of
from lmc_lab.tasks.task import Task
from lmc_lab.values import overrides_of
from lmc_lab.versions import package_version

if TYPE_CHECKING:  # an analysis knows the experiment, too, and does without Lightning
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import Logger


@dataclass(frozen=True)
class RunName:
    """What a run is, for those who log it."""

    task: str
    trunk_seed: int
    split_step: int | None = None  # None for the trunk
    seed: Seed | None = None
    address: str = field(
        kw_only=True
    )  # its address, which no other run has: ``lenet-0a1b2c3d/trunk-0/split-2000/branch-3``

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
class Experiment:
    """One trunk of one task and the way its branches are made."""

    task: Task
    paths: RunPaths
    trunk_seed: int
    make_trainer: "Callable[..., Trainer]"
    make_logger: "Callable[[RunName, Mapping[str, Any]], Logger | None]"  # of a run and its config
    settings: RunSettings
    config: Mapping[str, Any]  # of the command
    variation: Variation = Variation()  # of its branches
    device: str = "cpu"  # where it trains: cpu, cuda, mps
    given: tuple[str, ...] = ()  # on the command line: what makes this experiment of the defaults

    def training_command(self, *overrides: str) -> str:
        """Returns the command that trains this trunk, or with further overrides its branches, for the user to type."""
        trunk = f"trunk_seed={self.trunk_seed}"
        return shlex.join(["python", "-m", "lmc_lab.train", *self.given, trunk, *overrides])

    @property
    def trunk_folder(self) -> RunFolder:
        """Returns the trunk's folder."""
        return self.paths.trunk(self.trunk_seed)

    def circumstances(self) -> dict[str, str]:
        """Returns what a run depends on and its address does not say, but for the user's own code."""
        return {
            "data": self.task.dataset.digest,
            "torch": package_version("torch"),
            "lmc_lab": package_version("lmc_lab"),
        }

    @property
    def device_name(self) -> str:
        """Where it trains, as files say it: a GPU with the name of the card."""
        return name_of(self.device)

    @property
    def branch_task(self) -> Task:
        """Returns what its branches train: the task, but for what the variation overrides."""
        return self.variation.task or self.task

    @property
    def variant(self) -> str:
        """Returns what the split's folder name says of branches that are not made by default."""
        return str(self.variation)

    @property
    def with_plain_branches(self) -> "Experiment":
        """Returns the same trunk with branches that start at W_k and see all examples; else they are made in the same way."""
        variation = self.variation
        described = {name: value for name, value in variation.described.items() if name not in ("start", "examples")}
        given = [item for item in self.given if not re.match(r"[+~]*branch[.=]", item)]
        return replace(
            self,
            variation=replace(variation, start=None, examples=None, described=described),
            given=(*given, *overrides_of("branch", described)),
        )

    def split_folder(self, step: int) -> SplitFolder:
        """Returns the folder of the split at `step`."""
        return self.split(step).folder(self.paths)

    def split(self, step: int) -> Split:
        """Returns the split at `step`."""
        of_branches = self.variation
        return Split(
            self.trunk_seed, step, str(of_branches.length), of_branches.carry_optimizer_state, of_branches.described
        )

    def is_on_the_way(self, step: int, split_step: int) -> bool:
        """Returns whether a branch of a split passes a step between its split and its end."""
        return split_step < step < self.last_step(split_step)

    def last_step(self, split_step: int) -> int:
        """Returns the step at which a branch ends."""
        is_own = self.variation.length is BranchLength.AFTER_SPLIT
        return self.branch_task.max_steps + (split_step if is_own else 0)
