"""Ways to run one architecture at many points of its parameter space: one by one, or side by side."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from functools import partial
from textwrap import shorten
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lmc_lab.errors import UserError
from lmc_lab.inputs import Inputs, by_name, device_of, each
from lmc_lab.landscape.parameters import States
from lmc_lab.process import num_cores
from lmc_lab.stacked.graph import UnsupportedModel
from lmc_lab.stacked.model import StackedModel
from lmc_lab.stacked.moments import batch_moments
from lmc_lab.tasks.forward_pass import placed
from lmc_lab.tasks.threads import map_in_order
from lmc_lab.torch_internals import version_of

InputParts = Sequence[Inputs]  # the inputs of one batch, in the parts and the memory that a way to run a model wants
Outputs = Callable[[InputParts], Tensor]  # of n models on such inputs, (n, >= B, ...)

# Models side by side have a multiple of so many examples. Else a model's numbers may begin in the middle of a vector register,
# and the last bit of its outputs depend on its position: of equal endpoints three quarters of the hull had lower losses.
_ALIGNED_EXAMPLES = 16
EXAMPLES_IN_CACHE = 256  # of one model, at a time
_METHOD_LENGTH = 120  # of a method in words: an exception of the user's own may be long


def padded(tensor: Tensor, multiple: int) -> Tensor:
    """Returns `tensor` with its last row repeated until the number of its rows is a multiple of `multiple`."""
    missing = -len(tensor) % multiple
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor


class EvaluationPath(StrEnum):
    """How many points are evaluated at once. The results differ by float32 rounding."""

    AUTO = "auto"  # stacked where the model's layers allow it, else loop
    LOOP = "loop"  # one after another: works for any model
    STACKED = "stacked"  # side by side: on a CPU as one wide network, on a GPU by torch.func (`stacked`)


class Forward(ABC):
    """Runs a model at n points on a chunk of examples."""

    method: str  # in words: which path, and why if it was not the first choice
    num_models: int  # how many points it runs best with
    num_examples: int  # and how many examples
    num_threads = 1  # that may run it at a time; `functional_call` changes the model while it runs
    device: torch.device  # that it runs on: that of the inputs with which it was built

    @abstractmethod
    def at(self, states: States) -> Outputs:
        """Returns what runs the model at n points, whose weights are arranged once; it takes what `inputs` gives.

        The outputs (n, >= B, ...) begin with those on the B examples, in their order. More of them are those on copies of the
        last example, which `inputs` may add.
        """

    def inputs(self, inputs: Inputs) -> InputParts:
        """Returns `inputs` (B, ...) as the model is to have them, on its device, once for all points."""
        return [each(lambda tensor: tensor.to(self.device), inputs)]

    def targets(self, targets: Tensor) -> Tensor:
        """Returns `targets` (B, ...) on the device, perhaps with copies of the last: those that outputs are judged with."""
        return targets.to(self.device)

    @abstractmethod
    def moments(self, states: States, inputs: Inputs) -> dict[str, Tensor]:
        """Returns the running moments of every BatchNorm, (n, C) by name, as the batch `inputs` alone would set them."""


class _PointByPoint(Forward, ABC):
    """Runs any model at one point after another.

    A model that changes its inputs in place gets a copy of them each time; buffers that it writes are placed in the model.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, written: Collection[str] = ()) -> None:
        self.device = device_of(inputs)
        self._model = model
        self._written = written
        self._changes_inputs = changes_inputs(model, inputs)

    @final
    def moments(self, states: States, inputs: Inputs) -> dict[str, Tensor]:
        """Returns the moments (n, C), of one point after another."""
        return batch_moments(self._model, states, inputs)

    def _run(self, state: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        copies = each(Tensor.clone, inputs) if self._changes_inputs else inputs
        before = _versions_of(inputs)
        outputs: Tensor = functional_call(self._model, placed(self._model, state, self._written), (copies,))
        if _versions_of(inputs) != before:
            raise UserError(
                "expected a model that changes its input in place always or never, found one that did not on the first "
                "examples and does on later ones; begin its forward with a copy, x = x.clone()"
            )
        return outputs


def changes_inputs(model: nn.Module, inputs: Inputs) -> bool:
    """Returns whether the model changes its inputs (B, ...) in place, as it does now with a copy of these."""
    copies = each(Tensor.clone, inputs)
    before = _versions_of(copies)
    with torch.no_grad():
        model(copies)
    return _versions_of(copies) != before


@final
class Loop(_PointByPoint):
    """One functional call a point."""

    num_models = 1

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        *,
        reason: str = "",
        written: Collection[str] = (),
        num_examples: int = EXAMPLES_IN_CACHE,
    ) -> None:
        super().__init__(model, inputs, written)
        self.num_examples = num_examples
        self.method = shorten(f"loop: {reason}" if reason else "loop", _METHOD_LENGTH)

    def at(self, states: States) -> Outputs:
        """Returns what runs the points one after another.

        Image filters are in channels-last memory, as the trained model has them. Each tensor has memory of its own: of views
        of one tensor a product's last bit may depend on where they begin.
        """
        num_points = len(next(iter(states.values())))
        points = [{name: _as_trained(values[i]) for name, values in states.items()} for i in range(num_points)]
        return lambda inputs: torch.stack([self._run(state, inputs[0]) for state in points])


@final
class Stacked(Forward):
    """Side by side as one wide network."""

    method = "stacked"

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        if not isinstance(inputs, Tensor):
            raise UnsupportedModel("one of several inputs")
        self.device = inputs.device
        self._stacked = StackedModel(model)
        self._sizes = self._stacked.batch_sizes(inputs)
        self.num_models, self.num_examples = self._sizes.num_models, self._sizes.num_examples
        self.num_threads = num_cores()

    def at(self, states: States) -> Outputs:
        """Returns what runs all points at once, their weights as wide layers."""
        prepared = self._stacked.prepare(dict(states))
        return lambda parts: self._stacked(prepared, [part for part in parts if isinstance(part, Tensor)])

    def inputs(self, inputs: Inputs) -> InputParts:
        """Returns the inputs in parts, with copies of the last one behind it."""
        padded_inputs = padded(inputs.to(self.device), _ALIGNED_EXAMPLES)
        return self._stacked.prepare_inputs(padded_inputs, self._sizes.num_map_examples)

    def moments(self, states: States, inputs: Inputs) -> dict[str, Tensor]:
        """Returns the moments (n, C)."""
        in_threads = partial(map_in_order, num_threads=self.num_threads)
        return self._stacked.moments(dict(states), inputs, in_threads)


def _as_trained(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.channels_last if tensor.dim() == 4 else torch.contiguous_format)


def _versions_of(inputs: Inputs) -> list[int]:
    """Returns how often the memory of each tensor of a model's inputs was changed in place."""
    return [version_of(tensor) for tensor in by_name(inputs).values()]
