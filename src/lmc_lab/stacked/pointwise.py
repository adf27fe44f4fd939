"""Functions of one number, and arithmetic between tensors."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmc_lab.stacked.activations import ActivationLayout, Layer, LayerInput, Weights
from lmc_lab.stacked.graph import RELUS, Call


def _elementwise(call: Call, source: LayerInput) -> Layer:
    function = call.module or (getattr(torch, call.kind) if call.op == "call_method" else call.kind)
    rest, named = call.args[1:], call.kwargs
    if source.may_overwrite and call.kind in _OVERWRITING:
        function = _OVERWRITING[call.kind]
    return Layer(source.layout, lambda num_models, weights, x: function(x, *rest, **named))


def arithmetic(call: Call, *sources: LayerInput) -> Layer:
    """Builds x + y and the like, between tensors of one layout or with a number."""
    function, overwriting = _ARITHMETIC[call.kind]
    layouts = {source.layout for source in sources}
    if call.kwargs or len(layouts) > 1 or ActivationLayout.SIZE in layouts:
        call.unsupported(f"between {' and '.join(sorted(layout.value for layout in layouts))}")
    if isinstance(call.args[0], Call) and sources[0].may_overwrite and call.args[0] is not call.args[1]:
        function = overwriting

    def execute(num_models: int, weights: Weights, *inputs: Tensor) -> Tensor:
        if len({x.shape for x in inputs}) > 1:
            call.unsupported(f"between shapes that differ: {', '.join(str(tuple(x.shape)) for x in inputs)}")
        remaining = iter(inputs)
        return function(*(next(remaining) if isinstance(argument, Call) else argument for argument in call.args))

    return Layer(layouts.pop(), execute)


_OVERWRITING: dict[Any, Callable[[Tensor], Tensor]] = dict(
    dict.fromkeys(RELUS, torch.relu_)
    | dict.fromkeys([nn.Sigmoid, torch.sigmoid, F.sigmoid, "sigmoid"], torch.sigmoid_)
    | dict.fromkeys([nn.Tanh, torch.tanh, F.tanh, "tanh"], torch.tanh_)
    | dict.fromkeys([torch.sin, "sin"], torch.sin_)
    | dict.fromkeys([torch.cos, "cos"], torch.cos_)
)
_ELEMENTWISE = (
    nn.GELU,
    nn.SiLU,
    nn.ELU,
    nn.LeakyReLU,
    nn.Softplus,
    nn.ReLU6,
    nn.Mish,
    F.gelu,
    F.silu,
    F.elu,
    F.softplus,
)
_ARITHMETIC: dict[Any, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = (
    dict.fromkeys(["add", "add_", operator.add, operator.iadd, torch.add], (torch.add, Tensor.add_))
    | dict.fromkeys(["sub", "sub_", operator.sub, operator.isub, torch.sub], (torch.sub, Tensor.sub_))
    | dict.fromkeys(["mul", "mul_", operator.mul, operator.imul, torch.mul], (torch.mul, Tensor.mul_))
    | dict.fromkeys(["div", "div_", operator.truediv, operator.itruediv, torch.div], (torch.div, Tensor.div_))
)
ELEMENTWISE: frozenset[Any] = frozenset([*_OVERWRITING, *_ELEMENTWISE])
ARITHMETIC: frozenset[Any] = frozenset(_ARITHMETIC)
BUILDERS: dict[Any, Callable[..., Layer]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(ARITHMETIC, arithmetic),
}
