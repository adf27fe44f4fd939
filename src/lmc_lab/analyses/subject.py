"""What is measured: an identity, and the tensors that `runs/` loads for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.states import Trunk

Subject = Mode | Trunk | Sequence[Mode]  # what a ModeAnalysis, a TrunkAnalysis, a JointAnalysis measures


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


def parts_of(subject: Subject) -> tuple[Part, ...]:
    """Returns what a subject consists of."""
    if isinstance(subject, Trunk):
        return (Part(subject.trunk_seed),)
    return tuple(Part(mode.trunk_seed, mode.split_step, mode.seeds, mode.diverged) for mode in _members(subject))


def digests_of(subject: Subject) -> list[str]:
    """Returns the digests of all files that a subject was loaded from, in an order of their own."""
    return sorted(digest for member in _members(subject) for digest in member.digests)


def columns_of(parts: Sequence[Part]) -> dict[str, int | None]:
    """Returns what the columns of rows say of their subject: of several trunks none."""
    return {
        "trunk": parts[0].trunk if len(parts) == 1 else None,
        "split_step": parts[0].split_step,
        "num_endpoints": sum(len(part.branches) for part in parts) or None,
    }


def _members(subject: Subject) -> Sequence[Any]:
    return [subject] if isinstance(subject, Mode | Trunk) else subject
