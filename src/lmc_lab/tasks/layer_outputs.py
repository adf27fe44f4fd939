"""What each layer of a model computes at a point of its parameter space."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lmc_lab.inputs import Inputs, by_name, each
from lmc_lab.tasks.arithmetic import float32_products

_UNITS_LAST = (nn.Linear, nn.LayerNorm)  # of other layers they are behind the examples


class LayerOutputs:
    """Runs a model and keeps the results of its layers: of modules with parameters and nothing inside, called once.

    Args:
        module: in eval mode, on its device.
        inputs: an example of what it takes, (B, ...).
    """

    def __init__(self, module: nn.Module, inputs: Inputs) -> None:
        self._module = module
        calls = _run(module, {}, inputs, _leaves(module))
        size = len(next(iter(by_name(inputs).values())))
        names = [name for name, _ in calls]
        self.names: Sequence[str] = [
            name for name, result in calls if names.count(name) == 1 and result.dim() > 1 and len(result) == size
        ]

    @float32_products()
    def at(self, state: Mapping[str, Tensor], inputs: Inputs) -> list[Tensor]:
        """Returns the results (B, F) of each layer at a point, the parameters and buffers of which are `state`."""
        return [result.flatten(1) for _, result in _run(self._module, state, inputs, self._layers)]

    @float32_products()
    def by_unit(self, state: Mapping[str, Tensor], inputs: Inputs) -> dict[str, Tensor]:
        """Returns the results of each layer at a point by its name, (units, N): an example, or a position of one, a column."""
        results = _run(self._module, state, inputs, self._layers)
        return {
            name: result.movedim(-1 if isinstance(self._layers[name], _UNITS_LAST) else 1, 0).flatten(1)
            for name, result in results
        }

    @property
    def _layers(self) -> dict[str, nn.Module]:
        return {name: self._module.get_submodule(name) for name in self.names}


def _leaves(module: nn.Module) -> dict[str, nn.Module]:
    return {
        name: part
        for name, part in module.named_modules()
        if not any(part.children()) and any(True for _ in part.parameters(recurse=False))
    }


@torch.no_grad()
def _run(
    module: nn.Module, state: Mapping[str, Tensor], inputs: Inputs, layers: Mapping[str, nn.Module]
) -> list[tuple[str, Tensor]]:
    """Returns the tensors that `layers` return in a forward pass, in the order of the calls."""
    results: list[tuple[str, Tensor]] = []
    device = next(module.parameters()).device

    def keep(name: str, result: object) -> None:
        if isinstance(result, Tensor):
            results.append((name, result.detach().clone()))  # what follows may work in place

    with watched(layers, keep):
        functional_call(module, dict(state), (each(lambda tensor: tensor.to(device, copy=True), inputs),))
    return results


@contextmanager
def watched(layers: Mapping[str, nn.Module], keep: Callable[[str, Any], object]) -> Iterator[None]:
    """Gives `keep` the name and the result of each call of a layer in this context."""
    watching = [
        layer.register_forward_hook(lambda _, given, result, name=name: keep(name, result))
        for name, layer in layers.items()
    ]
    try:
        yield
    finally:
        for handle in watching:
            handle.remove()
