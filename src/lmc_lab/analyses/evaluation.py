"""How, where and on which examples points were evaluated, as a result says it."""

from collections.abc import Iterator, Mapping

from lmc_lab.analyses.base import Choice, Record
from lmc_lab.data.examples import Examples
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator


def how(evaluator: PointEvaluator, subsets: Mapping[str, Examples] | None = None) -> Iterator[Choice]:
    """Yields the way in which points are evaluated, where, and over how many examples of each subset a loss is a mean."""
    yield Choice("evaluation", evaluator.method)
    yield from where(evaluator)
    if subsets is not None:
        yield Choice("examples", ", ".join(f"{len(examples)} {subset}" for subset, examples in subsets.items()))


def where(evaluator: PointEvaluator) -> Iterator[Choice]:
    """Yields the device, and of a GPU, on whose memory they depend, the sizes of a pass."""
    yield Choice("device", evaluator.device.name)
    if evaluator.device.total_memory is not None:
        sizes = evaluator.pass_sizes
        yield Choice("at_a_time", f"{sizes.num_models} points x {sizes.num_examples} examples")


def evaluated_index(settings: EvaluationSettings, subset: str, examples: Examples) -> Iterator[Record]:
    """Yields the indices of the examples of a subset that points are evaluated on, int64 (n,), unless these are all.

    A record with a value for each example has them in this order.
    """
    index = settings.index(examples)
    if index is not None:
        yield Record(f"{subset}_index", index)
