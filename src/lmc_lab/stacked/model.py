"""Many models of one architecture, evaluated at once on the same examples.

Every hull point is a whole network, and a small network leaves most of a core idle when it runs alone. Side by side, n
networks have wider layers: the first convolution, on the input that all share, is one wide convolution, later ones are
grouped, and linear layers are batched matrix products.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from lmc_lab.landscape.parameters import States
from lmc_lab.stacked.activations import count_models
from lmc_lab.stacked.graph import UnsupportedModel, trace
from lmc_lab.stacked.program import LayerProgram, PreparedWeights

Result = TypeVar("Result")

_NUM_MODELS = 8
_STACKED_BYTES = 20 * 2**10  # of an example's largest activation, up to which models run side by side
_CACHED_BYTES = 5 * 2**19  # of the largest activation of all examples and models at once
_MIN_EXAMPLES = 256
_MIN_EXAMPLES_OF_ALL = 64  # where all examples have their feature maps at once
_MIN_MAP_EXAMPLES = 32


@dataclass(frozen=True)
class BatchSizes:
    """How many models and examples are evaluated at once, and of how many of these the feature maps exist at a time."""

    num_models: int
    num_examples: int
    num_map_examples: int


class MapModels(Protocol):
    """Calls a function of each model's index, in this thread or in several."""

    def __call__(self, function: Callable[[int], Result], indices: Iterable[int], /) -> Iterable[Result]:
        """Returns the results in the order of the indices."""


class StackedModel:
    """Evaluates n models of one architecture on the same examples, in eval mode and without gradients.

    The results are those of the models one by one up to rounding: a BatchNorm after a convolution is folded into its
    weights.

    Args:
        model: A module made of the layers that `layers` knows; its own parameters and buffers are not used.

    Raises:
        UnsupportedModel: the model cannot be copied or traced, or has an operation that cannot be stacked.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = copied(model).eval()
        self._first_names = first_names(self._model)
        self._program = LayerProgram(trace(self._model, fold_batch_norm=True))
        self._unfolded = LayerProgram(trace(self._model, fold_batch_norm=False))

    def prepare(self, states: States) -> PreparedWeights:
        """Returns the weights of n models, rearranged once for all calls.

        Args:
            states: Every parameter and buffer by its name, (n, *shape).
        """
        return self._program.prepare(self._by_every_name(states))

    @torch.no_grad()
    def prepare_inputs(self, x: Tensor, num_map_examples: int) -> list[Tensor]:
        """Returns the inputs (B, ...) rearranged once for all calls.

        Args:
            x: The inputs.
            num_map_examples: How many examples have their feature maps at a time, for speed alone.
        """
        return self._program.prepare_inputs(x, num_map_examples)

    @torch.no_grad()
    def __call__(self, state: PreparedWeights, inputs: list[Tensor]) -> Tensor:
        """Returns the outputs (n, B, ...) of all models on the inputs that `prepare_inputs` gave."""
        return self._program.run(state, inputs)

    @torch.no_grad()
    def batch_sizes(self, x: Tensor) -> BatchSizes:
        """Returns how many models and examples to evaluate at once: a function of the model and the shape of x (B, ...).

        The largest activation of all of them should stay in the cache, while linear layers, whose weights are larger
        than their activations, want many examples: so these have their feature maps one part after another, if the rest
        of the model needs nothing else. There are at least 32 in a part, less would not be worth the calls. Per example
        and model on a core of an AMD EPYC, 128 examples of 8 LeNets with the maps of all at once (19 MB) take 1.1 times
        as long as with those of 16 (2.4 MB), 1,000 of 8 MNIST-1D nets (15 MB) 1.6 times as long as 128 (2 MB), and 512
        of 8 SIRENs 1.5 times as long as 256 (2 MB) where other processes share the cache; on two cores of one with
        AVX-512, 256 examples of 8 LeNets with the maps of 32 take .93 times as long as 128 with those of 16. A model
        with large activations has layers that fill a core alone, and grouped convolutions only cost: ResNet-20 takes
        0.80 ms for one model, 1.1 ms for 4 models.
        """
        sizes: list[int] = []
        model = self._model.to(x.dtype) if x.is_floating_point() else self._model
        tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        state = self.prepare({name: tensor.unsqueeze(0) for name, tensor in tensors.items()})
        self._program.run(state, [x[:1]], visit=lambda activation: sizes.append(activation.nbytes))
        num_models = _NUM_MODELS if max(sizes) <= _STACKED_BYTES else 1
        fitting = max(_CACHED_BYTES // (num_models * max(sizes)), _MIN_MAP_EXAMPLES)
        num_map_examples = 2 ** (fitting.bit_length() - 1)
        at_least = _MIN_EXAMPLES if self._program.has_maps else _MIN_EXAMPLES_OF_ALL
        return BatchSizes(num_models, max(num_map_examples, at_least), num_map_examples)

    def moments(self, states: States, x: Tensor, map_models: MapModels = map) -> dict[str, Tensor]:
        """Returns what `moments.batch_moments` does, up to rounding, in less than half the time.

        A BatchNorm needs the whole batch of the layer before, so the models run one by one, layer by layer, each layer
        64 examples at a time: a layer of 2,048 examples of ResNet-20 has 134 MB, and fresh memory of that size costs
        more than the arithmetic (2.4 s in place of 5.8 s). Sums over the batch are in float64.

        Args:
            states: Every parameter and buffer by its name, (n, *shape).
            x: The batch (B, ...).
            map_models: Calls a function of each model's index.
        """
        states = self._by_every_name(states)

        @torch.no_grad()  # each thread has a switch of its own
        def of_one(index: int) -> dict[str, Tensor]:
            return self._unfolded.moments({name: tensor[index : index + 1] for name, tensor in states.items()}, x)

        by_model = list(map_models(of_one, range(count_models(states))))
        return {name: torch.cat([moments[name] for moments in by_model]) for name in by_model[0]}

    def _by_every_name(self, states: States) -> States:
        return {name: states[first] for name, first in self._first_names.items() if first in states}


def copied(model: nn.Module) -> nn.Module:
    """Returns a copy of the model.

    Raises:
        UnsupportedModel: it cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever a module holds
        raise UnsupportedModel(f"what cannot be copied: {error}") from error


def first_names(model: nn.Module) -> dict[str, str]:
    """Returns for each name of a parameter or buffer the first one that it has, which differs if layers share it."""
    first: dict[int, str] = {}
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors}
