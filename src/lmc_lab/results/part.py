"""What rows were measured of: trunks, and modes of their splits, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """A trunk, or a mode, of what was measured."""

    trunk: int | None  # None: weights from elsewhere
    split_step: int | None = None  # None: the trunk itself, or weights from elsewhere
    branches: tuple[int, ...] = ()  # seeds; of weights from elsewhere the numbers 0 ... P - 1 of `files`
    diverged: tuple[tuple[int, int], ...] = ()  # (seed, step) of branches left out since their training diverged
    files: tuple[tuple[str, str], ...] = ()  # (name, digest) of weights from elsewhere
    step: int | None = None  # t, of the states on the way that the mode is made of; None: its endpoints

    @classmethod
    def of_plain(cls, content: Mapping[str, Any]) -> "Part":
        """Returns the part that JSON holds."""
        diverged = tuple((seed, step) for seed, step in content["diverged"])
        files = tuple((name, digest) for name, digest in content.get("files", ()))
        return cls(
            content["trunk"],
            content["split_step"],
            tuple(content["branches"]),
            diverged,
            files,
            content.get("step"),
        )

    @property
    def seeds(self) -> set[int]:
        """Returns the branches that were looked at, those that diverged included."""
        return {*self.branches, *(seed for seed, _ in self.diverged)}

    @property
    def endpoint_names(self) -> tuple[str, ...]:
        """Returns what each endpoint is called in a sentence: ``branch seed=3``, or the name of its file."""
        return tuple(name for name, _ in self.files) or tuple(f"branch seed={seed}" for seed in self.branches)

    def __str__(self) -> str:
        """Returns ``trunk 0``, ``trunk 0, k = 20``, ``trunk 0, k = 20, t = 30`` or ``weights of a.pt, b.pt``."""
        if self.files:
            return f"weights of {', '.join(self.endpoint_names)}"
        split = "" if self.split_step is None else f", k = {self.split_step}"
        return f"trunk {self.trunk}{split}" + ("" if self.step is None else f", t = {self.step}")


def subject_text(subject: Sequence[Part]) -> str:
    """Returns a subject in words: ``trunk 0, k = 20``, of a whole trunk's splits ``trunk 0, k = 0, 20``."""
    trunks = {part.trunk for part in subject}
    if len(subject) > 1 and len(trunks) == 1:
        return f"{Part(subject[0].trunk)}, k = {', '.join(str(part.split_step) for part in subject)}"
    return "; ".join(map(str, subject))


def columns_of(parts: Sequence[Part]) -> dict[str, int | None]:
    """Returns what the columns of rows say of their subject: what all its parts share, and how many endpoints it has.

    A step is said of states on the way alone: else it is that of each row.
    """
    trunks, splits = {part.trunk for part in parts}, {part.split_step for part in parts}
    steps = {part.step for part in parts if part.step is not None}
    return {
        "trunk": parts[0].trunk if len(trunks) == 1 else None,
        "split_step": parts[0].split_step if len(splits) == 1 else None,
        "num_endpoints": sum(len(part.branches) for part in parts) or None,
        **({"step": steps.pop()} if len(steps) == 1 else {}),
    }
