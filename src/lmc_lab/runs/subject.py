"""What an analysis measures: an identity, and tensors that are loaded when they are asked for."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from lmc_lab.errors import UserError
from lmc_lab.results.part import Part, columns_of
from lmc_lab.runs.experiment import Experiment


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked to be measured, by the user and by an analysis; a subject takes what it is made of."""

    split_steps: Sequence[int] = ()  # k
    trunks: Sequence[int] | None = None
    seeds: Sequence[int] | None = None  # of the branches; all that exist if None
    allow_missing: bool = False  # leave unfinished branches out instead of refusing
    allow_diverged: bool = False  # leave diverged branches out instead of refusing
    fewest: int = 2  # branches that are needed; a hull has two
    at_step: int | None = None  # t: branches on their way, in place of their endpoints
    endpoints: Sequence[str] | None = None  # files of weights from elsewhere, or patterns of their names
    # The steps of the run whose states an analysis wants to see; None: all that are saved.
    steps: Sequence[int] | None = ()
    # The analyses whose results one wants to see -> their settings besides the defaults, None for whatever they are.
    results: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    varied: Sequence[
        Experiment
    ] = ()  # the same trunk with branches that are made in other ways, to be seen beside them

    def __post_init__(self) -> None:
        """Refuses `endpoints` together with keys that name branches.

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
    has_tensors: ClassVar[bool] = True  # if not, it is made of results, and measured after them
    takes_files: ClassVar[bool] = False  # of weights from elsewhere

    @property
    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """What the subject consists of."""

    @property
    @abstractmethod
    def digests(self) -> tuple[str, ...]:
        """The digests of all files that the subject is made of, in any order: its identity."""

    @property
    def columns(self) -> dict[str, int | None]:
        """What the columns of rows say of the subject."""
        return columns_of(self.parts)

    @classmethod
    @abstractmethod
    def load(cls, experiment: Experiment, request: Request) -> Self:
        """Returns the subject that is asked for.

        Args:
            experiment: names the trunk and the way branches are made.
            request: what is to be measured.

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
