"""What an analysis measures: an identity, and tensors that are loaded when they are asked for."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from lmc_lab.runs.experiment import Experiment


@dataclass(frozen=True)
class Part:
    """A trunk, or a mode, of what was measured."""

    trunk: int
    split_step: int | None = None  # None: the trunk itself
    branches: tuple[int, ...] = ()
    diverged: tuple[tuple[int, int], ...] = ()  # (seed, step) of branches left out since their training diverged

    @classmethod
    def of_plain(cls, content: Mapping[str, Any]) -> "Part":
        """Returns the part that JSON holds."""
        diverged = tuple((seed, step) for seed, step in content["diverged"])
        return cls(content["trunk"], content["split_step"], tuple(content["branches"]), diverged)

    def __str__(self) -> str:
        """Returns ``trunk 0`` or ``trunk 0, k = 20``."""
        return f"trunk {self.trunk}" + ("" if self.split_step is None else f", k = {self.split_step}")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an analysis is asked to measure, in the user's words; a subject takes what it is made of."""

    split_steps: Sequence[int] = ()  # k
    trunks: Sequence[int] | None = None
    seeds: Sequence[int] | None = None  # of the branches; all that exist if None
    allow_missing: bool = False  # leave unfinished branches out instead of refusing
    allow_diverged: bool = False  # leave diverged branches out instead of refusing


class Subject(ABC):
    """A kind of thing that can be measured; an analysis says which it is about.

    Looking at an identity costs no more than the headers of the files that the subject is made of.
    """

    stage: ClassVar[str]  # of a study: the one that measures subjects of this kind
    has_branches: ClassVar[bool]  # so that it depends on how they are made

    @property
    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """What the subject consists of."""

    @property
    @abstractmethod
    def digests(self) -> tuple[str, ...]:
        """The digests of all files that the subject is made of, in any order: its identity."""

    @classmethod
    @abstractmethod
    def load(cls, experiment: Experiment, request: Request, steps: Sequence[int] | None) -> Self:
        """Returns the subject that is asked for.

        Args:
            experiment: names the trunk and the way branches are made.
            request: what the user named.
            steps: at which an analysis wants to see the states of the run; None for all that are saved.

        Raises:
            UserError: the request leaves open what is meant, or some of it is missing or damaged.
        """

    @classmethod
    @abstractmethod
    def in_study(cls, trunks: Sequence[int], steps: Sequence[int], seeds: Sequence[int]) -> list[tuple[Part, ...]]:
        """Returns the parts of each subject of this kind that a study has."""

    @classmethod
    @abstractmethod
    def sweep(cls, trunks: str, splits: str, seeds: str) -> list[str]:
        """Returns the overrides that ask for all subjects of this kind; trunks, splits and seeds as lists ``0,1``."""


def columns_of(parts: Sequence[Part]) -> dict[str, int | None]:
    """Returns what the columns of rows say of their subject: of several trunks none."""
    return {
        "trunk": parts[0].trunk if len(parts) == 1 else None,
        "split_step": parts[0].split_step,
        "num_endpoints": sum(len(part.branches) for part in parts) or None,
    }
