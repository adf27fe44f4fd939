"""Many models of one architecture, evaluated at once on the same examples.

Every hull point is a whole network, and a small network leaves most of a core idle when it runs alone. Side by side, n
networks have wider layers: the first convolution, on the input that all share, is one wide convolution, later ones are
grouped, and linear layers are batched matrix products.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lmc_lab.models.stacked.graph import BATCH_NORMS, Call, trace
from lmc_lab.models.stacked.layers import build_layer
from lmc_lab.models.stacked.layout import MAPS, Layer, Layout, Source, Thetas, Weights, count_models, models_first
from lmc_lab.models.stacked.moments import channel_moments

_NUM_MODELS = 8
_STACKED_BYTES = 20 * 2**10  # of an example's largest activation, up to which models run side by side
_CACHED_BYTES = 5 * 2**19  # of the largest activation of all examples and models at once
_MIN_EXAMPLES = 128
_MIN_EXAMPLES_OF_ALL = 64  # where all examples have their feature maps at once
_MIN_MAP_EXAMPLES = 16
_MOMENTS_EXAMPLES = 64


@dataclass(frozen=True)
class StackedState:
    """The weights of n models as the layers of a `StackedModel` want them."""

    num_models: int
    weights: dict[Call, Weights]


@dataclass(frozen=True)
class Chunk:
    """How many models and examples are evaluated at once, and of how many of these the feature maps exist at a time."""

    num_models: int
    num_examples: int
    num_map_examples: int


class StackedModel:
    """Evaluates n models of one architecture on the same examples, in eval mode and without gradients.

    The results are those of the models one by one up to rounding: a BatchNorm after a convolution is folded into its
    weights.

    Args:
        model: A module made of the layers that `layers` knows; its own parameters and buffers are not used.

    Raises:
        UnsupportedModel: the model cannot be traced, or has an operation that cannot be stacked.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = copy.deepcopy(model).eval()
        self._first_names = _first_names(self._model)
        self._program = _Program(trace(self._model, fold_batch_norm=True))
        self._unfolded = _Program(trace(self._model, fold_batch_norm=False))

    def prepare(self, thetas: Thetas) -> StackedState:
        """Returns the weights of n models, rearranged once for all calls.

        Args:
            thetas: Every parameter and buffer by its name, (n, *shape).
        """
        thetas = self._by_every_name(thetas)
        weights = {call: layer.prepare(thetas) for call, layer in self._program.layers.items()}
        return StackedState(count_models(thetas), weights)

    @torch.no_grad()
    def __call__(self, state: StackedState, x: Tensor, num_map_examples: int | None = None) -> Tensor:
        """Returns the outputs (n, B, ...) of all models on the inputs (B, ...).

        Args:
            state: The models.
            x: The inputs.
            num_map_examples: How many examples have their feature maps at a time, for speed alone; by default all.
        """
        return self._program.run(state, x, num_map_examples or len(x))

    @torch.no_grad()
    def chunk(self, x: Tensor) -> Chunk:
        """Returns how many models and examples to evaluate at once: a function of the model and the shape of x (B, ...).

        The largest activation of all of them should stay in the cache, while linear layers, whose weights are larger
        than their activations, want many examples: so these have their feature maps one part after another, if the rest
        of the model needs nothing else. Per example and model on a core of an AMD EPYC, 128 examples of 8 LeNets with
        the maps of all at once (19 MB) take 1.1 times as long as with those of 16 (2.4 MB), 1,000 of 8 MNIST-1D nets
        (15 MB) 1.6 times as long as 128 (2 MB), and 512 of 8 SIRENs 1.5 times as long as 256 (2 MB) where other
        processes share the cache. A model with large activations has layers that fill a core alone, and grouped
        convolutions only cost: ResNet-20 takes 0.80 ms for one model, 1.1 ms for 4 models.
        """
        sizes: list[int] = []
        state = self.prepare(
            {name: tensor.unsqueeze(0) for name, tensor in self._model.to(x.dtype).state_dict().items()}
        )
        self._program.run(state, x[:1], 1, visit=lambda activation: sizes.append(activation.nbytes))
        num_models = _NUM_MODELS if max(sizes) <= _STACKED_BYTES else 1
        fitting = max(_CACHED_BYTES // (num_models * max(sizes)), _MIN_MAP_EXAMPLES)
        num_map_examples = 2 ** (fitting.bit_length() - 1)
        at_least = _MIN_EXAMPLES if self._program.has_maps else _MIN_EXAMPLES_OF_ALL
        return Chunk(num_models, max(num_map_examples, at_least), num_map_examples)

    @torch.no_grad()
    def moments(self, thetas: Thetas, x: Tensor) -> dict[str, Tensor]:
        """Returns what `moments.batch_moments` does, up to rounding, in less than half the time.

        A BatchNorm needs the whole batch of the layer before, so the models run one by one, layer by layer, each layer
        64 examples at a time: a layer of 2,048 examples of ResNet-20 has 134 MB, and fresh memory of that size costs
        more than the arithmetic (2.4 s in place of 5.8 s). Sums over the batch are in float64.
        """
        thetas = self._by_every_name(thetas)
        found = [
            self._unfolded.moments({name: tensor[index : index + 1] for name, tensor in thetas.items()}, x)
            for index in range(count_models(thetas))
        ]
        return {name: torch.cat([moments[name] for moments in found]) for name in found[0]}

    def _by_every_name(self, thetas: Thetas) -> Thetas:
        return {name: thetas[first] for name, first in self._first_names.items() if first in thetas}


class _Program:
    """The layers of a model in their order, and when a result is last used."""

    def __init__(self, calls: list[Call]) -> None:
        self.layers: dict[Call, Layer] = {}
        for call in calls:
            self.layers[call] = self._layer(call)
        self._last_uses = _last_uses(calls)
        self._maps, self._head = self._split(calls)

    @property
    def has_maps(self) -> bool:
        """Returns whether feature maps can be made for a part of the examples at a time."""
        return bool(self._maps)

    def run(
        self,
        state: StackedState,
        x: Tensor,
        num_map_examples: int,
        visit: Callable[[Tensor], object] = lambda activation: None,
    ) -> Tensor:
        """Returns the outputs (n, B, ...), after showing every activation to `visit`."""
        values = {call: x for call in self._maps if self._is_input(call)}
        if self._maps:
            maps = self._maps[-1]
            parts = (self._run(self._maps, {}, state, part, visit) for part in torch.split(x, num_map_examples))
            values[maps] = _join(list(parts), self.layers[maps].layout)
        return self._run(self._head, values, state, x, visit)

    def _run(
        self,
        calls: list[Call],
        values: dict[Call, Tensor],
        state: StackedState,
        x: Tensor,
        visit: Callable[[Tensor], object],
    ) -> Tensor:
        """Returns the result of the last of `calls`, given the `values` of those before them."""
        for call in calls:
            inputs = [values[source] for source in call.inputs] or [x]
            values[call] = self.layers[call].execute(state.num_models, state.weights[call], *inputs)
            visit(values[call])
            del inputs
            for source in self._last_uses[call]:  # freed at once: the next layer gets memory that is in the cache
                values.pop(source, None)
        return values[calls[-1]]

    def _split(self, calls: list[Call]) -> tuple[list[Call], list[Call]]:
        """Returns the calls up to the feature maps of which rows are made, and the rest if it needs only these maps."""
        rows = next((call for call in calls if self.layers[call].layout is Layout.ROWS), None)
        if rows is None or self.layers[rows.inputs[0]].layout not in MAPS:
            return [], calls
        end = calls.index(rows.inputs[0]) + 1
        maps, head = calls[:end], calls[end:]
        needed = {source for call in head for source in call.inputs if not self._is_input(source)} - set(head)
        return (maps, head) if needed == {maps[-1]} else ([], calls)

    def _is_input(self, call: Call) -> bool:
        """Returns whether the value is the input itself, of which a size is taken at most."""
        return call.op == "placeholder" or self.layers[call].layout is Layout.SIZE

    def moments(self, thetas: Thetas, x: Tensor) -> dict[str, Tensor]:
        """Returns the moments of every BatchNorm for n models; see `StackedModel.moments`."""
        thetas = dict(thetas)
        found: dict[str, Tensor] = {}
        values: dict[Call, list[Any]] = {}  # tensors, or None where they are not needed any more
        remaining = [call for call in self.layers if call.kind in BATCH_NORMS]
        for call, layer in self.layers.items():
            if not remaining:
                break
            inputs = [values[source] for source in call.inputs] or [list(torch.split(x, _MOMENTS_EXAMPLES))]
            if call is remaining[0]:
                remaining.pop(0)
                moments = channel_moments(layer.layout, inputs[0], count_models(thetas))
                mean, variance, unbiased = (moment.to(x.dtype) for moment in moments)
                thetas |= {f"{call.path}.running_mean": mean, f"{call.path}.running_var": variance}
                found |= {f"{call.path}.running_mean": mean, f"{call.path}.running_var": unbiased}
            values[call] = self._execute_split(call, layer, thetas, inputs)
        return found

    def _execute_split(self, call: Call, layer: Layer, thetas: Thetas, inputs: list[list[Any]]) -> list[Any]:
        weights, results = layer.prepare(thetas), []
        last_used = [position for position, source in enumerate(call.inputs) if source in self._last_uses[call]]
        for part in range(len(inputs[0])):
            results.append(layer.execute(count_models(thetas), weights, *(parts[part] for parts in inputs)))
            for position in last_used:
                inputs[position][part] = None
        return results

    def _layer(self, call: Call) -> Layer:
        if call.op == "placeholder":
            if self.layers and call.users:
                call.unsupported("the model has more than one input")
            return Layer(Layout.SHARED, lambda num_models, weights, x: x, is_fresh=False)
        if call.op != "output":
            return build_layer(call, [self._source(source) for source in call.inputs])
        result = call.args[0]
        if not isinstance(result, Call) or self.layers[result].layout is Layout.SIZE:
            call.unsupported("the model returns something else than one tensor")
        layout = self.layers[result].layout
        return Layer(layout, lambda num_models, weights, x: models_first(layout, x, num_models))

    def _source(self, call: Call) -> Source:
        layer = self.layers[call]
        return Source(layer.layout, may_overwrite=layer.is_fresh and len(call.users) == 1)


def _join(parts: list[Tensor], layout: Layout) -> Tensor:
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


def _first_names(model: nn.Module) -> dict[str, str]:
    """Returns for each name of a parameter or buffer the first one that it has, which differs if layers share it."""
    first: dict[int, str] = {}
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors}
