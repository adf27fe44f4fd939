"""The layers of a traced model, and their execution for n models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lmc_lab.landscape.parameters import States
from lmc_lab.stacked.activations import (
    MAPS,
    ActivationLayout,
    Layer,
    LayerInput,
    Weights,
    batch_first,
    batch_last,
    count_models,
    models_first,
)
from lmc_lab.stacked.graph import BATCH_NORMS, Call
from lmc_lab.stacked.layers import build_layer
from lmc_lab.stacked.moments import channel_moments

_MOMENTS_EXAMPLES = 64


@dataclass(frozen=True)
class PreparedWeights:
    """The weights of n models as the layers of a `StackedModel` want them."""

    num_models: int
    weights: dict[Call, Weights]


class LayerProgram:
    """The layers of a model in their order, and when a result is last used."""

    def __init__(self, calls: list[Call]) -> None:
        self._layers: dict[Call, Layer] = {}
        for call in calls:
            self._layers[call] = self._layer(call)
        self._last_uses = _last_uses(calls)
        self._maps, self._head = self._maps_and_head(calls)
        of_input = [layer for call, layer in self._layers.items() if any(map(self._is_input, call.inputs))]
        self._starts_batch_last = any(layer.layout.is_batch_last for layer in of_input)

    @property
    def has_maps(self) -> bool:
        """Returns whether feature maps can be made for a part of the examples at a time."""
        return bool(self._maps)

    def prepare(self, states: States) -> PreparedWeights:
        """Returns the weights of n models, given every parameter and buffer by its name, (n, *shape)."""
        weights = {call: layer.prepare(states) for call, layer in self._layers.items()}
        return PreparedWeights(count_models(states), weights)

    def prepare_inputs(self, x: Tensor, num_map_examples: int) -> list[Tensor]:
        """Returns the inputs (B, ...) as `run` takes them.

        They are in parts where feature maps are, and have the memory of (1, C, ..., B) where the maps have the batch last.
        """
        parts = list(torch.split(x, num_map_examples)) if self.has_maps else [x]
        return [batch_first(batch_last(part)) for part in parts] if self._starts_batch_last else parts

    def run(
        self,
        state: PreparedWeights,
        parts: Sequence[Tensor],
        visit: Callable[[Tensor], object] = lambda activation: None,
    ) -> Tensor:
        """Returns the outputs (n, B, ...) on the inputs that `prepare_inputs` gave, every activation shown to `visit`."""
        x = parts[0]  # all of the input, or what stands for it where nothing but a size is taken of it
        values = {call: x for call in self._maps if self._is_input(call)}
        if self.has_maps:
            end = self._maps[-1]
            values[end] = _join(
                [self._run(self._maps, {}, state, part, visit) for part in parts], self._layers[end].layout
            )
        return self._run(self._head, values, state, x, visit)

    def _run(
        self,
        calls: list[Call],
        values: dict[Call, Tensor],
        state: PreparedWeights,
        x: Tensor,
        visit: Callable[[Tensor], object],
    ) -> Tensor:
        """Returns the result of the last of `calls`, given the `values` of those before them."""
        for call in calls:
            inputs = [values[source] for source in call.inputs] or [x]
            values[call] = self._layers[call].execute(state.num_models, state.weights[call], *inputs)
            visit(values[call])
            del inputs
            for source in self._last_uses[call]:  # freed at once: the next layer gets memory that is in the cache
                values.pop(source, None)
        return values[calls[-1]]

    def _maps_and_head(self, calls: list[Call]) -> tuple[list[Call], list[Call]]:
        """Returns the calls up to the feature maps of which rows are made, and the rest if it needs only these maps."""
        rows = next((call for call in calls if self._layers[call].layout is ActivationLayout.ROWS), None)
        if rows is None or self._layers[rows.inputs[0]].layout not in MAPS:
            return [], calls
        end = calls.index(rows.inputs[0]) + 1
        maps, head = calls[:end], calls[end:]
        needed = {source for call in head for source in call.inputs if not self._takes_size(call, source)} - set(head)
        return (maps, head) if needed == {maps[-1]} else ([], calls)

    def _takes_size(self, call: Call, source: Call) -> bool:
        """Returns whether `call` uses only the batch size of `source`, so that its tensor need not be kept."""
        return self._is_size(source) or (source.op == "placeholder" and self._is_size(call))

    def _is_input(self, call: Call) -> bool:
        """Returns whether the value is the input itself, which also stands for its size."""
        return call.op == "placeholder" or self._is_size(call)

    def _is_size(self, call: Call) -> bool:
        return self._layers[call].layout is ActivationLayout.SIZE

    def moments(self, states: States, x: Tensor) -> dict[str, Tensor]:
        """Returns the moments of every BatchNorm for n models; see `StackedModel.moments`."""
        states = dict(states)
        found: dict[str, Tensor] = {}
        values: dict[Call, list[Any]] = {}  # tensors, or None where they are not needed any more
        norms = {call for call in self._layers if call.kind in BATCH_NORMS}
        makes_maps = any(layer.layout in MAPS for layer in self._layers.values())
        parts = list(torch.split(x, _MOMENTS_EXAMPLES)) if makes_maps else [x]  # rows are small, and calls cost more
        for call, layer in self._layers.items():
            if not norms:
                break
            inputs = [values[source] for source in call.inputs] or [parts]
            if call in norms:
                norms.remove(call)
                moments = channel_moments(layer.layout, inputs[0], count_models(states))
                mean, variance, unbiased = (moment.to(states[f"{call.path}.running_mean"].dtype) for moment in moments)
                states |= {f"{call.path}.running_mean": mean, f"{call.path}.running_var": variance}
                found |= {f"{call.path}.running_mean": mean, f"{call.path}.running_var": unbiased}
            values[call] = self._execute_in_parts(call, layer, states, inputs)
        return found

    def _execute_in_parts(self, call: Call, layer: Layer, states: States, inputs: list[list[Any]]) -> list[Any]:
        weights, results = layer.prepare(states), []
        last_used = [position for position, source in enumerate(call.inputs) if source in self._last_uses[call]]
        for part in range(len(inputs[0])):
            results.append(layer.execute(count_models(states), weights, *(parts[part] for parts in inputs)))
            for position in last_used:
                inputs[position][part] = None
        return results

    def _layer(self, call: Call) -> Layer:
        if call.op == "placeholder":
            if self._layers and call.users:
                call.unsupported("the model has more than one input")
            return Layer(ActivationLayout.SHARED, lambda num_models, weights, x: x, is_fresh=False)
        if call.op != "output":
            return build_layer(call, [self._source(source) for source in call.inputs])
        result = call.args[0]
        if not isinstance(result, Call) or self._is_size(result):
            call.unsupported("the model returns something else than one tensor")
        layout = self._layers[result].layout
        return Layer(layout, lambda num_models, weights, x: models_first(layout, x, num_models))

    def _source(self, call: Call) -> LayerInput:
        layer = self._layers[call]
        return LayerInput(layer.layout, may_overwrite=layer.is_fresh and len(call.users) == 1)


def _join(parts: list[Tensor], layout: ActivationLayout) -> Tensor:
    """Returns the feature maps of all examples."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1 if layout.is_batch_last else 0)


def _last_uses(calls: list[Call]) -> dict[Call, list[Call]]:
    """Returns the calls whose results are not needed after each call."""
    last_uses: dict[Call, list[Call]] = {}
    seen: set[Call] = set()
    for call in reversed(calls):
        ended = [source for source in dict.fromkeys(call.inputs) if source not in seen]
        last_uses[call] = ended if call.users or call.op == "output" else [*ended, call]
        seen.update(ended)
    return last_uses
