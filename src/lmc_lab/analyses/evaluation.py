"""How, where and on which examples points were evaluated, as a result says it."""

from collections.abc import Iterator

from lmc_lab.analyses.base import Choice, Record
from lmc_lab.data.examples import Dataset
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator


def how(evaluator: PointEvaluator) -> Iterator[Choice]:
    """Yields the way in which points are evaluated, and where."""
    yield Choice("evaluation", evaluator.method)
    yield from where(evaluator)


def where(evaluator: PointEvaluator) -> Iterator[Choice]:
    """Yields the device, and of a GPU, on whose memory they depend, the sizes of a pass."""
    yield Choice("device", evaluator.device.name)
    if evaluator.device.total_memory is not None:
        sizes = evaluator.pass_sizes
        yield Choice("at_a_time", f"{sizes.num_models} points x {sizes.num_examples} examples")


def which(settings: EvaluationSettings, dataset: Dataset) -> Iterator[Record]:
    """Yields which examples of each subset are looked at, int64 (n,), if not all are: what is kept of each is of these."""
    if settings.num_examples is not None:
        yield from (Record(f"{name}_index", settings.index(subset)) for name, subset in dataset.subsets.items())
