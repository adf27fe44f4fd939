"""What an analysis is: it reads a subject, yields measurements, and neither logs nor stores them."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, ClassVar, Self

from torch import Tensor

from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.modes import Modes
from lmc_lab.runs.states import Trunk
from lmc_lab.runs.subject import Request, Subject
from lmc_lab.runs.trunk_results import TrunkResults
from lmc_lab.runs.varied_modes import VariedModes
from lmc_lab.tasks.task import Task
from lmc_lab.values import check_fields, check_value, distinct, is_incidental


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number with its interval and its sample size; what does not apply is None."""

    quantity: str
    value: float
    low: float | None = None  # 95 % interval
    high: float | None = None
    num_samples: int | None = None
    subset: str | None = None  # of the examples: train, test
    branch: int | None = None
    step: int | None = None
    index: int | None = None


@dataclass(frozen=True)
class Record:
    """Tensors too large for rows, kept beside them."""

    name: str
    tensor: Tensor


@dataclass(frozen=True)
class Choice:
    """What an analysis decided itself, and why; it is written beside the rows' settings, and is no part of the result's key."""

    name: str
    value: str


@dataclass(frozen=True)
class LeftOut:
    """A part of the answer that is missing, mostly since nobody knows how weights from elsewhere came about."""

    what: str
    why: str = "which weights from elsewhere do not have"  # goes on where `what` ends

    def __str__(self) -> str:
        """Returns both."""
        return f"{self.what}, {self.why}"


Answer = Measurement | Record | Choice | LeftOut


class _About(ABC):
    """What a question is about; no settings."""

    name: ClassVar[str]
    version: ClassVar[int] = 1  # to be raised when the same settings give other rows
    subject: ClassVar[type[Subject]]
    over_time: ClassVar[bool] = False  # whether it is asked of branches on their way, too, where `steps` are named
    at_bracket: ClassVar[bool] = False  # whether a study asks it of 2P branches of the splits at the onset alone
    steps: Sequence[int] | None = ()  # of the run, whose states are looked at; None for all that are saved
    reads: ClassVar[tuple[str, ...]] = ()  # the names of the analyses whose results are looked at
    results: Mapping[str, Any] | None = None  # of these settings each, besides the defaults; None: whatever they are


@dataclass(frozen=True, kw_only=True)
class Analysis(_About):
    """A question about a subject. Its fields are its settings; with the subject's digests they identify a result."""

    def __post_init__(self) -> None:
        """Raises UserError for a setting that cannot be."""
        check_fields(self, f"analysis.{self.name}")
        # A step named twice would have its rows twice; of no state there is no answer where it is about all that are saved.
        fewest = 1 if type(self).steps is None else 0
        check_value(self.steps, Annotated[Sequence[int], distinct(fewest)] | None, f"analysis.{self.name}.steps")

    @property
    def bn_policy(self) -> str | None:
        """Returns where BatchNorm moments came from, if points are evaluated."""
        evaluation = getattr(self, "evaluation", None)
        return evaluation.bn_policy if evaluation else None

    def settings(self) -> dict[str, Any]:
        """Returns the fields that the result depends on, as plain data."""
        return _plain(_essential(self))

    def changed_settings(self) -> dict[str, Any]:
        """Returns the settings that are not at their defaults, as plain data.

        They, the name and the version are what a result is known by: a further field with a default orphans nothing.
        """
        return _plain(_changed(self))

    def with_less_memory(self) -> Self:
        """Returns the same question, to be answered with half of a GPU's memory."""
        evaluation = getattr(self, "evaluation", None)
        if evaluation is None:
            return self
        return replace(self, evaluation=replace(evaluation, memory=evaluation.memory / 2))  # type: ignore[call-arg]

    @property
    def branch(self) -> Mapping[str, Any]:
        """Returns how the branches are made that it is about: values of the config's node ``branch``.

        They take the place of the user's under the same keys; the user's others stay. A study trains such branches; an analysis
        by itself says how to.
        """
        return {}

    @property
    def variations(self) -> Sequence[Mapping[str, Any]]:
        """Returns the other ways of making the same branches, each as `branch` has one, whose modes stand beside it.

        They are seen by an analysis of `VariedModes`. A study trains all of them.
        """
        return ()

    @property
    def plain_branches(self) -> int:
        """Returns how many plain branches, those with the seeds below it, its variations are made from."""
        return 0

    def variations_of(self, task: Task) -> Sequence[Mapping[str, Any]]:
        """Returns the ways to make branches that this analysis wants for a task; overridden where they depend on the task."""
        return self.variations

    def request(self, request: Request) -> Request:
        """Returns what the user asks to be measured together with what this analysis wants to see of it."""
        return replace(
            request, steps=self.steps, results=dict.fromkeys(self.reads) if self.results is None else self.results
        )


class ModeAnalysis(Analysis):
    """A question about the endpoints of a mode, and about states of its branches at some `steps`.

    Of weights from elsewhere the endpoints are all that there is: `mode.training` is None, and what needs it is left out.
    """

    subject = Mode

    @abstractmethod
    def measure(self, mode: Mode, task: Task) -> Iterator[Answer]:
        """Yields the answer."""

    def without_states(self, mode: Mode) -> Iterator[LeftOut]:
        """Yields that states on the way are left out, if `steps` names some and branches have none of them."""
        if self.steps and mode.training is None:
            yield LeftOut("states on the way")
        elif self.steps and mode.training and not mode.training.steps_on_the_way:
            yield LeftOut(
                "states on the way", "since none of the steps that are named lies between the split and the end"
            )


class TrunkAnalysis(Analysis):
    """A question about the states of one trunk at some `steps`: all that are saved for None, its curve alone for ()."""

    subject = Trunk
    steps: Sequence[int] | None = None

    @abstractmethod
    def measure(self, trunk: Trunk, task: Task) -> Iterator[Answer]:
        """Yields the answer."""


class JointAnalysis(Analysis):
    """A question about the modes of one split step of several trunks."""

    subject = Modes

    @abstractmethod
    def measure(self, modes: Modes, task: Task) -> Iterator[Answer]:
        """Yields the answer."""


class VariedAnalysis(Analysis):
    """A question about a mode beside the same branches made in other ways: in each of its `variations`."""

    subject = VariedModes

    @abstractmethod
    def measure(self, modes: VariedModes, task: Task) -> Iterator[Answer]:
        """Yields the answer."""


class SplitsAnalysis(Analysis):
    """A question about what other analyses, which it `reads`, have found at the splits of one trunk."""

    subject = TrunkResults

    @abstractmethod
    def measure(self, results: TrunkResults, task: Task) -> Iterator[Measurement | Record | Choice]:
        """Yields the answer."""


def _essential(settings: Any) -> dict[str, Any]:
    """Returns the fields of a dataclass, and of those in it, without those that are incidental."""
    values: dict[str, Any] = {}
    for field in _essential_fields(settings):
        value = getattr(settings, field.name)
        values[field.name] = _essential(value) if is_dataclass(value) else value
    return values


def _essential_fields(settings: Any) -> "list[Field[Any]]":
    return [field for field in fields(settings) if not is_incidental(field)]


def _changed(settings: Any) -> dict[str, Any]:
    """Returns the fields of a dataclass that are not at their defaults; of one that is a dataclass, its own such fields."""
    values: dict[str, Any] = {}
    for field in _essential_fields(settings):
        value = getattr(settings, field.name)
        if not _has_default(field):
            values[field.name] = _essential(value) if is_dataclass(value) else value
        elif is_dataclass(value):
            values |= {field.name: changed} if (changed := _changed(value)) else {}
        elif _plain({"": value}) != _plain({"": _default(field)}):
            values[field.name] = value
    return values


def _has_default(field: "Field[Any]") -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _default(field: "Field[Any]") -> Any:
    return field.default if field.default is not MISSING else field.default_factory()  # type: ignore[operator]


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content as JSON holds it, in which lists and tuples are the same."""
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return plain
