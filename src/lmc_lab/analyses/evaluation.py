"""How and where points were evaluated, as rows say it."""

from collections.abc import Iterator

from lmc_lab.analyses.base import Choice
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
