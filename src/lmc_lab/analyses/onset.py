"""Where does the hull begin? The splits from which on a criterion holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Any, ClassVar, final

import pandas as pd

from lmc_lab.analyses.base import Measurement, SplitsAnalysis
from lmc_lab.landscape.onset import STABLE_INSTABILITY, holds, onset
from lmc_lab.landscape.onset_search import num_reversals
from lmc_lab.results.select import select
from lmc_lab.runs.trunk_results import TrunkResults
from lmc_lab.tasks.task import Task
from lmc_lab.values import Share


@final
@dataclass(frozen=True, kw_only=True)
class Onset(SplitsAnalysis):
    """The first split from which on a criterion holds at every later one: of `p_conv`, of instability, of the hull's centre.

    The value of a row ``onset_…`` is that split, infinite if the criterion fails at the last one; `low` is the last split
    that fails, null if none does: the onset lies between the two. Of `num_samples` splits, whose number is a row
    ``onset_…_splits``, too. A row ``onset_…_reversals`` counts the splits that fail after an earlier one held: where it is not
    0 the outcome is not monotone, and the onset that of the splits which were looked at. A split without a number counts as
    failed, and a row ``onset_…_unmeasured`` names it.

    Args:
        threshold: of `p_conv`.
        results: the settings, besides the defaults, of the analyses whose results are read, by their names.
    """

    name: ClassVar[str] = "onset"
    version: ClassVar[int] = 3
    reads: ClassVar[tuple[str, ...]] = ("convex_mode", "pairs")
    threshold: Share = 0.9
    results: Mapping[str, Any] | None = None

    def measure(self, results: TrunkResults, task: Task) -> Iterator[Measurement]:
        """Yields the onset by each criterion that was measured.

        They are: `p_conv` is at least the threshold; instability in error is below 2 % (Frankle et al. 2020); the loss of the
        hull's centre is lower than the mean loss of the endpoints. All on the training set.
        """
        p_conv, instability, excess = (
            _values(results, "p_conv"),
            _values(results, "instability_error"),
            _excess(results),
        )
        yield from _onset("p_conv", p_conv, threshold=self.threshold, at_least=True)
        yield from _onset("instability", instability, threshold=STABLE_INSTABILITY, at_least=False)
        yield from _onset("centre_better", excess, threshold=0, at_least=False)


def _values(results: TrunkResults, quantity: str) -> dict[int, float]:
    """Returns a quantity at each split, NaN where it has no value; nothing if it was measured nowhere."""
    rows = select(results.rows, quantity, "train")
    return _at_splits(results, dict(zip(rows["split_step"], rows["value"], strict=True)))


def _excess(results: TrunkResults) -> dict[int, float]:
    """Returns the loss of the hull's centre, less the mean loss of the endpoints, at each split."""
    centre, endpoint = (
        select(results.rows, quantity, "train").set_index("split_step")["value"]
        for quantity in ("centre_loss", "endpoint_loss")
    )
    excess: pd.Series[float] = centre - endpoint
    return _at_splits(results, excess.to_dict())


def _at_splits(results: TrunkResults, values: Mapping[Any, float]) -> dict[int, float]:
    found = {int(step): float(value) for step, value in values.items()}
    return {step: found.get(step, nan) for step in results.split_steps} if values else {}


def _onset(criterion: str, values: Mapping[int, float], *, threshold: float, at_least: bool) -> Iterator[Measurement]:
    if not values:
        return
    bracket = onset(list(values), list(values.values()), threshold=threshold, at_least=at_least)
    yield Measurement(
        quantity=f"onset_{criterion}",
        value=inf if bracket.held is None else bracket.held,
        low=bracket.failed,
        high=bracket.held,
        num_samples=len(values),
        subset="train",
    )
    yield Measurement(quantity=f"onset_{criterion}_splits", value=len(values), subset="train")
    outcomes = {step: holds(value, threshold, at_least=at_least) for step, value in values.items()}
    yield Measurement(quantity=f"onset_{criterion}_reversals", value=num_reversals(outcomes), subset="train")
    for step, value in values.items():
        if isnan(value):
            yield Measurement(quantity=f"onset_{criterion}_unmeasured", value=step, subset="train")
