"""One mode, and beside it the same branches made in other ways."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from lmc_lab.results.part import Part
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.status import NoBranches
from lmc_lab.runs.subject import Request, Subject
from lmc_lab.tasks.state_dicts import Endpoints


@dataclass(frozen=True)
class VariedModes(Subject):
    """A mode of one split of one trunk, and those of its branches in each variation that is asked for.

    A branch and its counterpart have the same seed, and so the same data order.
    """

    stage: ClassVar[str] = "variations"
    has_branches: ClassVar[bool] = True

    mode: Mode
    # Each of the seeds of `mode`, but for those that diverged; of none, where there are no such branches.
    varied: tuple[Mode, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The mode."""
        return self.mode.parts

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of all endpoints."""
        return (*self.mode.digests, *(digest for each in self.varied for digest in each.digests))

    @classmethod
    def load(cls, experiment: Experiment, request: Request) -> Self:
        """Returns the mode that is named, with its variations.

        Raises:
            UserError: one of the modes cannot be loaded.
        """
        mode = Mode.load(experiment, request)
        same = replace(request, seeds=mode.branches)
        return cls(mode, tuple(_mode(each, same) for each in request.varied))

    @classmethod
    def in_study(cls, trunks: Sequence[int], steps: Sequence[int], seeds: Sequence[int]) -> list[tuple[Part, ...]]:
        """Returns the mode of each split of each trunk."""
        return Mode.in_study(trunks, steps, seeds)

    @classmethod
    def sweep(cls, trunks: str, splits: str, seeds: str) -> list[str]:
        """Returns the overrides that ask for the mode of each split of each trunk."""
        return Mode.sweep(trunks, splits, seeds)


def _mode(experiment: Experiment, request: Request) -> Mode:
    """Returns a mode of a variation; that of P = 0 endpoints where it has no branches."""
    try:
        return Mode.load(experiment, request)
    except NoBranches:
        task, (step,) = experiment.task, request.split_steps
        none = Endpoints(torch.empty(0, task.layout.parameters.dimension), {})
        return Mode(Part(experiment.trunk_seed, step, ()), (), task, lambda: none)


@dataclass(frozen=True)
class PairedModes:
    """The endpoints of n pairs: first those of a mode, then their counterparts in a variation."""

    names: Sequence[str]  # 2n
    endpoints: Tensor  # (2n, D)
    buffers: Mapping[str, Tensor]  # name -> (2n, *shape)

    @classmethod
    def of(cls, mode: Mode, varied: Mode) -> "PairedModes":
        """Returns the branches of `varied` with those of `mode` that have the same seeds."""
        index = [mode.branches.index(branch) for branch in varied.branches]
        names = [*(mode.names[i] for i in index), *(f"{name}, varied" for name in varied.names)]
        buffers = {name: torch.cat([mode.buffers[name][index], values]) for name, values in varied.buffers.items()}
        return cls(names, torch.cat([mode.endpoints[index], varied.endpoints]), buffers)

    def __len__(self) -> int:
        """Returns n."""
        return len(self.endpoints) // 2

    @property
    def distances(self) -> Tensor:
        """Returns how far the endpoints of each pair are apart, (n,) float64."""
        first, second = self.endpoints.double().chunk(2)
        return (second - first).norm(dim=1)
