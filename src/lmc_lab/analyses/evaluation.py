"""How points were evaluated, as rows say it."""

from collections.abc import Iterator

from lmc_lab.analyses.base import Choice
from lmc_lab.tasks.point_evaluator import PointEvaluator


def how(evaluator: PointEvaluator) -> Iterator[Choice]:
    """Yields the way in which points are evaluated, and the device; of a GPU, on which sizes depend, also these."""
    yield Choice("evaluation", evaluator.method)
    yield Choice("device", evaluator.device.name)
    if evaluator.device.total_memory is not None:
        num_models, num_examples = evaluator.pass_sizes.num_models, evaluator.pass_sizes.num_examples
        yield Choice("at_a_time", f"{num_models} points x {num_examples} examples")
