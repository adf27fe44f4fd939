"""How the loss at a point is computed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from torch import Tensor

from lmc_lab.data.examples import Dataset, Examples
from lmc_lab.tasks.device import DeviceName
from lmc_lab.tasks.forward import EvaluationPath
from lmc_lab.values import Condition, Count, at_least, check_fields, incidental


class BatchNormPolicy(StrEnum):
    """Where the moments of a BatchNorm layer come from at a point that was never trained at."""

    REESTIMATE = "reestimate"  # the moments of one fixed batch of training examples, at every evaluated point
    INTERPOLATE = "interpolate"  # the endpoints' moments, mixed as the endpoints are; a perturbation has its endpoint's
    KEEP = "keep"  # the moments of the endpoint with the largest coefficient


_SEED = 1  # of the examples that points are evaluated on; 0 is that of the batch of `reestimate`
_SHARE = Condition("> 0 and <= 1", lambda value: 0 < value <= 1)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How points are evaluated.

    Args:
        bn_policy: without effect for a model without BatchNorm.
        num_examples: losses and accuracies of points are means over this many examples of each set, drawn at random once,
            independently of those of `num_bn_examples`; over all for None. Where an analysis' own `num_examples` says over
            how many a loss, Hessian, kernel or feature deviation is a mean, that one counts; class means of features are of
            the whole training set.
        num_bn_examples: training examples, chosen at random once and for all, in the batch of `reestimate`.
        path: one point after another, or many at once.
        device: where. Rounding differs, and rows say which it was; a result is known without it.
        memory: the share of what would be taken of a GPU's memory that is taken; half of it where that runs out.
    """

    bn_policy: Annotated[str, BatchNormPolicy] = BatchNormPolicy.REESTIMATE
    num_examples: Count | None = None
    num_bn_examples: Annotated[int, at_least(2, because="one has no variance")] = 2048
    path: Annotated[str, EvaluationPath] = EvaluationPath.AUTO
    device: Annotated[str, DeviceName] = incidental(DeviceName.AUTO)
    memory: Annotated[float, _SHARE] = incidental(1.0)

    def __post_init__(self) -> None:
        """Raises UserError for a setting that cannot be."""
        check_fields(self, "evaluation")

    def subsets(self, dataset: Dataset) -> dict[str, Examples]:
        """Returns the examples of each subset that points are evaluated on, by the subset's name."""
        return {name: self.examples(subset) for name, subset in dataset.subsets.items()}

    def examples(self, subset: Examples) -> Examples:
        """Returns the examples of a subset that points are evaluated on."""
        index = self.index(subset)
        return subset if index is None else subset.at(index)

    def index(self, subset: Examples) -> Tensor | None:
        """Returns the indices of these examples in the subset, int64 (n,), sorted; None where they are all."""
        if self.num_examples is None or self.num_examples >= len(subset):
            return None
        return subset.drawn(self.num_examples, seed=_SEED)
