"""How each kind of layer is evaluated for n models at once."""

from collections.abc import Callable
from typing import Any

from lmc_lab.stacked import pointwise, pooling, shapes, weighted
from lmc_lab.stacked.activations import Layer, LayerInput
from lmc_lab.stacked.graph import Call

BUILDERS: dict[Any, Callable[..., Layer]] = weighted.BUILDERS | pointwise.BUILDERS | pooling.BUILDERS | shapes.BUILDERS
_OF_SEVERAL_INPUTS = (pointwise.arithmetic, shapes.flatten)


def build_layer(call: Call, sources: list[LayerInput]) -> Layer:
    """Returns the layer of `call`, whose inputs are described by `sources`.

    Raises:
        UnsupportedModel: there is none.
    """
    builder = BUILDERS.get(call.kind)
    if builder is None or not sources or (len(sources) > 1 and builder not in _OF_SEVERAL_INPUTS):
        call.unsupported("this operation is not known")
    return builder(call, *sources)
