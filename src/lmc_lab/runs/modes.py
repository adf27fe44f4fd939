"""The modes of one split step of several trunks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from lmc_lab.errors import UserError
from lmc_lab.results.part import Part
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.subject import Request, Subject
from lmc_lab.values import shown


@dataclass(frozen=True)
class Modes(Subject):
    """A mode of each trunk."""

    stage: ClassVar[str] = "across-trunks"
    has_branches: ClassVar[bool] = True

    members: tuple[Mode, ...]

    def __iter__(self) -> Iterator[Mode]:
        """Yields the modes."""
        return iter(self.members)

    @property
    def of_mode(self) -> Tensor:
        """The number of the mode that each endpoint of all modes is of, (n,) int64."""
        return torch.repeat_interleave(torch.tensor([len(mode) for mode in self]))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The modes."""
        return tuple(part for mode in self for part in mode.parts)

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of all endpoints."""
        return tuple(digest for mode in self for digest in mode.digests)

    @classmethod
    def load(cls, experiment: Experiment, request: Request) -> Self:
        """Returns the modes of the trunks that are named.

        Raises:
            UserError: fewer than two are, or one of the modes cannot be loaded.
        """
        if request.trunks is None or len(request.trunks) < 2:
            raise UserError(f"expected two or more trunks, found {shown(request.trunks)}; add 'trunks=[0,1]', say")
        trunks = [replace(experiment, trunk_seed=trunk) for trunk in request.trunks]
        return cls(tuple(Mode.load(trunk, request) for trunk in trunks))

    @classmethod
    def in_study(cls, trunks: Sequence[int], steps: Sequence[int], seeds: Sequence[int]) -> list[tuple[Part, ...]]:
        """Returns the modes of each split, if there are several trunks."""
        splits = [tuple(Part(trunk, step, tuple(seeds)) for trunk in trunks) for step in steps]
        return splits if len(trunks) > 1 else []

    @classmethod
    def sweep(cls, trunks: str, splits: str, seeds: str) -> list[str]:
        """Returns the overrides that ask for the modes of each split."""
        return [f"trunks=[{trunks}]", f"split_step={splits}", f"seeds=[{seeds}]"]
