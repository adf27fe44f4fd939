"""Which noise distinguishes the branches of a split: ``branch.noise={kind: dropout}``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, final

import numpy as np
import torch

from lmc_lab.data.examples import Examples
from lmc_lab.data.labels import flipped
from lmc_lab.data.order import Noise, Role, seed_of
from lmc_lab.errors import UserError
from lmc_lab.runs.paths import TRUNK, Seed
from lmc_lab.tasks.noise import why_without
from lmc_lab.tasks.task import Task
from lmc_lab.values import Condition, Positive, check_fields, distinct

Kind = Annotated[str, Noise]
FlippedShare = Annotated[float, Condition("> 0 and <= 1", lambda value: 0 < value <= 1)]
Spread = Annotated[float, Condition("> 1", lambda value: 1 < value < np.inf)]
Factors = Annotated[Sequence[Positive], distinct(2)]


@final
@dataclass(frozen=True, kw_only=True)
class BranchNoise:
    """One kind of noise that a branch's seed names; all else, the order of the data included, is its trunk's.

    The branch with the seed ``trunk`` has none: it goes on as the trunk does.

    Args:
        kind: ``order``, ``augmentation``, ``dropout`` (all that is random in a step besides its batch), ``labels``, ``rate``.
        share: of the training labels of a branch that are flipped, where the kind is ``labels``.
        spread: a branch multiplies the rate by a number between 1 / spread and spread, log-uniform, where it is ``rate``.
        factors: the numbers themselves, that of the seed 0 first; None draws them.
    """

    kind: Kind
    share: FlippedShare = 0.1
    spread: Spread = 2.0
    factors: Factors | None = None

    def __post_init__(self) -> None:
        """Raises UserError for a setting that cannot be."""
        check_fields(self, "branch.noise")

    @property
    def has_own_labels(self) -> bool:
        """Whether each branch has labels of its own."""
        return self.kind == Noise.LABELS

    def check(self, task: Task) -> None:
        """Refuses a kind that the training of a task does not have.

        Raises:
            UserError: it is one.
        """
        if reason := why_without(task, self.kind):
            raise UserError(
                f"expected branch.noise.kind to be noise that {task.name} has, found {self.kind}, and {reason}; "
                "choose another kind"
            )

    def seen(self, examples: Examples, task: Task, trunk_seed: int, seed: Seed) -> Examples:
        """Returns the training examples as a branch sees them: some of its labels may be wrong."""
        if not self.has_own_labels or seed == TRUNK or task.num_classes is None:
            return examples
        drawn = torch.Generator().manual_seed(_drawn_seed(Role.LABELS, trunk_seed, int(seed)))
        targets = flipped(examples.targets, share=self.share, num_classes=task.num_classes, generator=drawn)
        return replace(examples, targets=targets)

    def rate_factor(self, trunk_seed: int, seed: Seed) -> float:
        """Returns the number by which a branch multiplies the learning rate.

        Raises:
            UserError: there are factors, and none for this seed.
        """
        if self.kind != Noise.RATE or seed == TRUNK:
            return 1.0
        if self.factors is None:
            generator = torch.Generator().manual_seed(_drawn_seed(Role.RATE, trunk_seed, int(seed)))
            return float(self.spread ** (2 * torch.rand((), generator=generator, dtype=torch.float64) - 1))
        if int(seed) >= len(self.factors):
            raise UserError(
                f"expected branch.noise.factors for seed={seed}, found {len(self.factors)}, the first that of seed 0; add some"
            )
        return float(self.factors[int(seed)])


def _drawn_seed(role: Role, trunk_seed: int, seed: int) -> int:
    return seed_of(role, trunk_seed, seed) >> 1  # a generator takes 63 bits
