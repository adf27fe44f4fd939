"""The split step k: how it may be written, and the manifest that says that the trunk has reached it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from lmc_lab.errors import UserError
from lmc_lab.files import peek_json, read_json_or_set_aside, remove_leftovers, set_aside, write_json
from lmc_lab.runs.paths import RunPaths, SplitFolder, address_of


class BranchLength(StrEnum):
    """What T counts for a branch."""

    TO_TOTAL = "to_total"  # a branch ends at step T of the whole run, trunk included
    AFTER_SPLIT = "after_split"  # a branch trains T steps of its own: the literal reading of Algorithm 1


@dataclass(frozen=True)
class Split:
    """The step at which branches leave a trunk, and how they do."""

    trunk_seed: int
    step: int
    branch_length: str
    carry_optimizer_state: bool
    described: Mapping[str, Any] = field(default_factory=dict)  # see `Variation`

    def folder(self, paths: RunPaths) -> SplitFolder:
        """Returns where it lies among the files of its task."""
        variant = variant_of(self.branch_length, self.carry_optimizer_state, self.described)
        return paths.split(self.trunk_seed, self.step, variant)

    def to_plain(self) -> dict[str, Any]:
        """Returns the split as JSON holds it."""
        return {name: value for name, value in asdict(self).items() if name != "described" or value}

    def publish(self, folder: SplitFolder) -> None:
        """Writes the manifest, or writes a damaged one anew; from now on branches may start."""
        remove_leftovers(folder.path)
        content = read_json_or_set_aside(folder.manifest, address=address_of(folder.manifest))
        if content and content != self.to_plain():
            set_aside(folder.manifest, f"expected {folder.manifest} to be {self.to_plain()}, found {content}")
        if not self.is_published(folder):
            write_json(folder.manifest, self.to_plain(), address=address_of(folder.manifest))

    def is_published(self, folder: SplitFolder) -> bool:
        """Returns whether the manifest says that the trunk has reached this split."""
        return peek_json(folder.manifest, address=address_of(folder.manifest)) == self.to_plain()


def variant_of(branch_length: str, carry_optimizer_state: bool, described: Mapping[str, Any]) -> str:
    """Returns what a split folder's name says of its branches: nothing by default, ``-after_split``, ``-varied_1a2b3c4d``."""
    length = "" if branch_length == BranchLength.TO_TOTAL else f"-{branch_length}"
    optimizer = "" if carry_optimizer_state else "-fresh_optimizer"
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:8]
    return length + optimizer + (f"-varied_{digest}" if described else "")


def parse_step(
    text: str | int | float, *, steps_per_epoch: int, max_steps: int, what: str = "split step k", end: str = "T"
) -> int:
    """Returns a step before the last from ``2000``, ``400it`` (iterations) or ``2ep`` (epochs).

    Args:
        text: the step as it is written.
        steps_per_epoch: what ``ep`` counts.
        max_steps: the last step.
        what: how errors call the step.
        end: how they call the last one.

    Raises:
        UserError: it is none of these, or not in 0 <= step < max_steps.
    """
    match = re.fullmatch(r"(\d+)(it|ep)?", str(text))
    if not match:
        raise UserError(
            f"expected a {what[:-2]} like 2000, 400it or 2ep, found '{text}'; write it in one of these ways, without a sign"
        )
    step = int(match[1]) * (steps_per_epoch if match[2] == "ep" else 1)
    if not 0 <= step < max_steps:
        raise UserError(
            f"expected a {what} with 0 <= {what[-1]} < {end} = {max_steps} steps, found {step}; "
            "choose an earlier one or raise task.max_steps"
        )
    return step
