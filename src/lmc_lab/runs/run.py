"""A run: a trunk, or a branch of one of its splits, as something that can be trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lmc_lab.data.examples import Examples
from lmc_lab.data.order import DataOrder, Noise, StepBatches, branch_order, trunk_order
from lmc_lab.runs.checkpoint import TRAINED
from lmc_lab.runs.chosen_examples import choose_once
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.experiment import Experiment, RunName
from lmc_lab.runs.paths import TRUNK, RunFolder, Seed
from lmc_lab.runs.variation import Origin
from lmc_lab.tasks.state_dicts import Endpoints
from lmc_lab.tasks.task import Task


@dataclass(frozen=True)
class Company:
    """How many runs were trained as one program, itself included, and what of its weights depends on that.

    Args:
        together: how many.
        is_captured: its steps were a CUDA graph.
        has_noise: layers drew numbers, which are others in other company.
    """

    together: int = 1
    is_captured: bool = False
    has_noise: bool = False


ALONE = Company()


@dataclass(frozen=True)
class Run:
    """The trunk of an experiment if `seed` is None, else a branch."""

    experiment: Experiment
    split_step: int | None = None
    seed: Seed | None = None

    @property
    def name(self) -> RunName:
        """What the run is, for those who log it."""
        address = self.folder.path.relative_to(self.experiment.paths.root.parent).as_posix()
        return RunName(
            self.experiment.task.name, self.experiment.trunk_seed, self.split_step, self.seed, address=address
        )

    @property
    def folder(self) -> RunFolder:
        """Where its files are."""
        if self.split_step is None or self.seed is None:
            return self.experiment.trunk_folder
        return self.experiment.split_folder(self.split_step).branch(self.seed)

    @property
    def task(self) -> Task:
        """What is trained."""
        return self.experiment.task if self.seed is None else self.experiment.branch_task

    @property
    def last_step(self) -> int:
        """The step at which it ends."""
        return self.task.max_steps if self.split_step is None else self.experiment.last_step(self.split_step)

    @property
    def origin(self) -> Origin:
        """Where it leaves its trunk, if it is a branch."""
        assert self.seed is not None
        return Origin(
            self.experiment.task,
            self.experiment.trunk_seed,
            self.split_step or 0,
            self.seed,
            self.task.batch_size,
            self._plain_endpoints,
        )

    def _plain_endpoints(self, seeds: Sequence[int]) -> Endpoints:
        """Returns the endpoints of the plain branches of the same split with these seeds, without those that diverged.

        Raises:
            UserError: one is not finished.
        """
        mode = load_mode(
            self.experiment.with_plain_branches,
            self.split_step or 0,
            seeds=seeds,
            allow_diverged=True,
            fewest=min(2, len(seeds)),
        )
        return Endpoints(mode.endpoints, mode.buffers)

    @property
    def command(self) -> str:
        """The command that trains it."""
        return self.experiment.training_command(*self.name.overrides)

    @property
    def config(self) -> Mapping[str, Any]:
        """Its config: that of a command which trains several names all of them."""
        split = {} if self.seed is None else {"split_step": self.split_step}
        return {**self.experiment.config, "trunk_seed": self.experiment.trunk_seed, "seed": self.seed, **split}

    def circumstances(self, company: Company = ALONE) -> dict[str, Any]:
        """Returns what the last bits of its weights depend on; where noise is the company's, all of them."""
        circumstances = {
            "device": self.experiment.device_name,
            "together": company.together,
            "precision": self.task.precision,
            "captured": company.is_captured,
        }
        return circumstances | ({"noise": "depends on the company"} if company.has_noise else {})

    def unusual_circumstances(self, company: Company = ALONE) -> dict[str, Any]:
        """Returns what a checkpoint says of them: nothing of a run that a CPU has trained alone."""
        is_usual = self.experiment.device == "cpu" and company.together == 1
        return {} if is_usual else {TRAINED: self.circumstances(company)}

    @property
    def examples(self) -> Examples:
        """The training examples that it sees."""
        train, chosen = self.task.dataset.train, self.chosen
        seen = train if chosen is None else train.at(chosen)
        noise = self.experiment.variation.noise
        if self.seed is None or noise is None:
            return seen
        return noise.seen(seen, self.task, self.experiment.trunk_seed, self.seed)

    @property
    def chosen(self) -> Tensor | None:
        """Which training examples it sees, int64 (n,); None for all.

        Raises:
            NoBranches: none are chosen.
            UserError: they cannot be chosen.
        """
        variation, dataset = self.experiment.variation, self.task.dataset
        if self.seed is None or variation.examples is None:
            return None
        folder = self.experiment.split_folder(self.split_step or 0)
        return choose_once(
            folder,
            dataset.digest,
            lambda: variation.chosen(dataset.train, self.task.batch_size, self.origin),
        )

    def order(self, examples: Examples) -> DataOrder:
        """Returns the order in which it sees `examples`; that of a branch with the seed ``trunk`` is the trunk's own."""
        trunk, size = self.experiment.trunk_seed, (len(examples), self.task.batch_size)
        if self.seed is None or self.seed == TRUNK:
            return trunk_order(trunk, *size)
        noise = self.experiment.variation.noise
        return branch_order(trunk, int(self.seed), *size, only=Noise(noise.kind) if noise else None)

    def batches(self, start: int) -> StepBatches:
        """Returns its batches from step `start` on."""
        examples, task = self.examples, self.task
        return StepBatches(examples, self.order(examples), start, task.dataset.augment, task.transform)
