"""What rows were measured of: trunks, and modes of their splits, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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

    @property
    def seeds(self) -> set[int]:
        """Returns the branches that were looked at, those that diverged included."""
        return {*self.branches, *(seed for seed, _ in self.diverged)}

    def __str__(self) -> str:
        """Returns ``trunk 0`` or ``trunk 0, k = 20``."""
        return f"trunk {self.trunk}" + ("" if self.split_step is None else f", k = {self.split_step}")


def told(subject: Sequence[Part]) -> str:
    """Returns a subject in words: ``trunk 0, k = 20``, of a whole trunk's splits ``trunk 0, k = 0, 20``."""
    trunks = {part.trunk for part in subject}
    if len(subject) > 1 and len(trunks) == 1:
        return f"{Part(subject[0].trunk)}, k = {', '.join(str(part.split_step) for part in subject)}"
    return "; ".join(map(str, subject))


def columns_of(parts: Sequence[Part]) -> dict[str, int | None]:
    """Returns what the columns of rows say of their subject: what all its parts share, and how many endpoints it has."""
    trunks, splits = {part.trunk for part in parts}, {part.split_step for part in parts}
    return {
        "trunk": parts[0].trunk if len(trunks) == 1 else None,
        "split_step": parts[0].split_step if len(splits) == 1 else None,
        "num_endpoints": sum(len(part.branches) for part in parts) or None,
    }
