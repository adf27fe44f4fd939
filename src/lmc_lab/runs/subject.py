"""What an analysis measures: an identity, and tensors that are loaded when they are asked for."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from lmc_lab.errors import UserError
from lmc_lab.runs.experiment import Experiment


@dataclass(frozen=True)
class Part:
    """A trunk, or a mode, of what was measured."""

    trunk: int | None  # None: weights from elsewhere
    split_step: int | None = None  # None: the trunk itself, or weights from elsewhere
    branches: tuple[
        int, ...
    ] = ()  # the seeds of the branches; of weights from elsewhere the numbers 0 ... P - 1 of `files`
    diverged: tuple[tuple[int, int], ...] = ()  # (seed, step) of branches left out since their training diverged
    files: tuple[tuple[str, str], ...] = ()  # (name, digest) of weights from elsewhere

    @classmethod
    def of_plain(cls, content: Mapping[str, Any]) -> "Part":
        """Returns the part that JSON holds."""
        diverged = tuple((seed, step) for seed, step in content["diverged"])
        files = tuple((name, digest) for name, digest in content.get("files", ()))
        return cls(content["trunk"], content["split_step"], tuple(content["branches"]), diverged, files)

    @property
    def endpoint_names(self) -> tuple[str, ...]:
        """Returns what each endpoint is called in a sentence: ``branch seed=3``, or the name of its file."""
        return tuple(name for name, _ in self.files) or tuple(f"branch seed={seed}" for seed in self.branches)

    def __str__(self) -> str:
        """Returns ``trunk 0``, ``trunk 0, k = 20`` or ``weights of a.pt, b.pt``."""
        if self.files:
            return f"weights of {', '.join(self.endpoint_names)}"
        return f"trunk {self.trunk}" + ("" if self.split_step is None else f", k = {self.split_step}")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an analysis is asked to measure, in the user's words; a subject takes what it is made of."""

    split_steps: Sequence[int] = ()  # k
    trunks: Sequence[int] | None = None
    seeds: Sequence[int] | None = None  # of the branches; all that exist if None
    allow_missing: bool = False  # leave unfinished branches out instead of refusing
    allow_diverged: bool = False  # leave diverged branches out instead of refusing
    endpoints: Sequence[str] | None = None  # files of weights from elsewhere, or patterns of their names

    def __post_init__(self) -> None:
        """Refuses what says of weights from elsewhere that they are branches.

        Raises:
            UserError: the request does.
        """
        of_branches = {"split_step": self.split_steps, "trunks": self.trunks, "seeds": self.seeds}
        named = [key for key, value in of_branches.items() if value]
        if self.endpoints is not None and named:
            raise UserError(
                f"expected endpoints, which are weights from elsewhere, without {' and '.join(named)}, which name branches, "
                "found both; leave the one or the other out"
            )


class Subject(ABC):
    """A kind of thing that can be measured; an analysis says which it is about.

    Looking at an identity costs no more than the headers of the files that the subject is made of.
    """

    stage: ClassVar[str]  # of a study: the one that measures subjects of this kind
    has_branches: ClassVar[bool]  # so that it depends on how they are made
    takes_files: ClassVar[bool] = False  # of weights from elsewhere

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
