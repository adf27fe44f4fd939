"""Which way to run a model is taken: side by side for a CPU's caches, vectorised on a GPU, or one point after another."""

from collections.abc import Collection

from torch import nn

from lmc_lab.inputs import Inputs
from lmc_lab.stacked.graph import UnsupportedModel
from lmc_lab.tasks.device import PassSizes
from lmc_lab.tasks.forward import EXAMPLES_IN_CACHE, EvaluationPath, Forward, Loop, Stacked
from lmc_lab.tasks.vectorised import Vectorised

_MOST_EXAMPLES_OF_ONE = 8192  # of one model at a time on a GPU


def build_forward(
    model: nn.Module,
    inputs: Inputs,
    path: EvaluationPath,
    *,
    sizes: PassSizes | None = None,
    stored: str = "",
    written: Collection[str] = (),
) -> Forward:
    """Returns the way to evaluate `model`.

    Args:
        model: to be evaluated, in eval mode.
        inputs: an example of what it takes, (B, ...), on the device where it is.
        path: that was asked for.
        sizes: of a pass on a device whose memory bounds it; None for a CPU.
        stored: what a forward pass leaves behind that a loss may read, in words: points are then evaluated one by one.
        written: the buffers among it.

    Raises:
        UnsupportedModel: the path is ``stacked``, and the model must be evaluated point by point.
    """
    if path is EvaluationPath.LOOP:
        return one_by_one(model, inputs, sizes=sizes, written=written)
    try:
        forward = Stacked(model, inputs) if sizes is None else Vectorised(model, inputs, sizes)
        if stored:
            raise UnsupportedModel(f"one whose forward stores {stored}")
    except UnsupportedModel as error:
        if path is not EvaluationPath.AUTO:
            raise
        return one_by_one(model, inputs, sizes=sizes, reason=error.reason, written=written)
    return forward


def one_by_one(
    model: nn.Module, inputs: Inputs, *, sizes: PassSizes | None, reason: str = "", written: Collection[str] = ()
) -> Loop:
    """Returns the way that evaluates one point after another; arguments as of `build_forward`, and why it is taken."""
    num_examples = EXAMPLES_IN_CACHE
    if sizes is not None:
        num_examples = min(_MOST_EXAMPLES_OF_ONE, sizes.num_models * sizes.num_examples)
    return Loop(model, inputs, reason=reason, written=written, num_examples=num_examples)
