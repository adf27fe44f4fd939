"""The split step k: how it may be written, and the manifest that says that the trunk has reached it."""

import re
from dataclasses import asdict, dataclass

from lmc_lab.errors import UserError
from lmc_lab.files import read_json, write_json
from lmc_lab.runs.layout import SplitFolder


@dataclass(frozen=True)
class Split:
    """The step at which branches leave a trunk, and the state they leave from."""

    trunk_seed: int
    step: int
    checkpoint: str  # file name in the trunk's folder
    branch_length: str
    carry_optimizer_state: bool

    def publish(self, folder: SplitFolder) -> None:
        """Writes the manifest; from now on branches may start."""
        if not folder.manifest.exists():
            write_json(folder.manifest, asdict(self))

    @classmethod
    def read(cls, folder: SplitFolder) -> "Split | None":
        """Returns the published split, or None."""
        content = read_json(folder.manifest)
        return cls(**content) if content else None


def parse_split_step(text: str | int | float, *, steps_per_epoch: int, max_steps: int) -> int:
    """Returns k in steps from ``2000``, ``400it`` (iterations) or ``2ep`` (epochs).

    Raises:
        UserError: it is none of these, or not in 0 <= k < T.
    """
    match = re.fullmatch(r"(\d+)(it|ep)?", str(text))
    if not match:
        raise UserError(f"expected a split step like 2000, 400it or 2ep, found '{text}'; write it in one of these ways")
    step = int(match[1]) * (steps_per_epoch if match[2] == "ep" else 1)
    if not 0 <= step < max_steps:
        raise UserError(
            f"expected a split step k with 0 <= k < T = {max_steps} steps, found {step}; "
            "choose an earlier split or raise task.max_steps"
        )
    return step
