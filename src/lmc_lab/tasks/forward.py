"""Ways to run one architecture at many points of its parameter space: one by one, side by side, or vectorised."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from enum import StrEnum
from functools import partial
from textwrap import shorten
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lmc_lab.errors import UserError
from lmc_lab.models.stacked.graph import UnsupportedModel
from lmc_lab.models.stacked.model import StackedModel
from lmc_lab.models.stacked.moments import batch_moments
from lmc_lab.process import num_cores
from lmc_lab.tasks.forward_pass import placed
from lmc_lab.tasks.threads import map_in_order

States = Mapping[str, Tensor]  # name -> (n, *shape), the parameters and buffers of n points

# Models side by side have a multiple of so many examples. Else a model's numbers may begin in the middle of a vector register,
# and the last bit of its outputs depend on its place: of equal endpoints three quarters of the hull had lower losses.
_ALIGNED_EXAMPLES = 16
_METHOD_LENGTH = 120  # of a method in words: an exception of the user's own may be long


def filled(tensor: Tensor, multiple: int) -> Tensor:
    """Returns `tensor` with its last row repeated until the number of its rows is a multiple of `multiple`."""
    missing = -len(tensor) % multiple
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor


class EvaluationPath(StrEnum):
    """How many points are evaluated at once. The results differ by float32 rounding."""

    AUTO = "auto"  # stacked where the model's layers allow it, else loop
    LOOP = "loop"  # one after another: works for any model
    STACKED = "stacked"  # side by side as one wide network (`models.stacked`)
    VMAP = "vmap"  # torch.func.vmap; here the last bit of a loss may depend on a point's place among the others


class Forward(ABC):
    """Runs a model at n points on a chunk of examples.

    `num_models` and `num_examples` are the sizes it runs best with, `num_threads` how many may run it at a time.
    """

    method: str  # in words: which path, and why if it was not the first choice
    num_models: int
    num_examples: int
    num_threads = 1  # `functional_call` changes the model while it runs

    @abstractmethod
    def prepare(self, states: States) -> Any:
        """Returns the states of n points in the form that `outputs` takes."""

    def arrange(self, inputs: Tensor) -> Any:
        """Returns `inputs` (B, ...) in the form that `outputs` takes, once for all points."""
        return inputs

    @abstractmethod
    def outputs(self, prepared: Any, inputs: Any) -> Tensor:
        """Returns the outputs (n, >= B, ...) on arranged inputs: those that were given, perhaps others of the last one."""

    @abstractmethod
    def moments(self, states: States, inputs: Tensor) -> dict[str, Tensor]:
        """Returns the running moments of every BatchNorm, (n, C) by name, as the batch `inputs` alone would set them."""


class _PointByPoint(Forward, ABC):
    """Runs any model; each run has inputs of its own if the model changes them in place, and buffers if it writes some."""

    def __init__(self, model: nn.Module, inputs: Tensor, written: Collection[str] = ()) -> None:
        self._model = model
        self._written = written
        self._changes_inputs = _changes(model, inputs.clone())

    @final
    def moments(self, states: States, inputs: Tensor) -> dict[str, Tensor]:
        """Returns the moments (n, C), of one point after another."""
        return batch_moments(self._model, states, inputs)

    def _run(self, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        own = inputs.clone() if self._changes_inputs else inputs
        version = inputs._version
        outputs: Tensor = functional_call(self._model, placed(self._model, state, self._written), (own,))
        if inputs._version != version:
            raise UserError(
                "expected a model that changes its input in place always or never, found one that did not on the first "
                "examples and does on later ones; begin its forward with a copy, x = x.clone()"
            )
        return outputs


def _changes(model: nn.Module, inputs: Tensor) -> bool:
    """Returns whether the model changes its input in place, as it does now with this one."""
    version = inputs._version
    with torch.no_grad():
        model(inputs)
    return inputs._version != version


def build_forward(
    model: nn.Module, inputs: Tensor, path: EvaluationPath, *, stored: str = "", written: Collection[str] = ()
) -> Forward:
    """Returns the way to evaluate `model`.

    Args:
        model: to be evaluated.
        inputs: an example of what it takes, (B, ...).
        path: that was asked for.
        stored: what a forward pass leaves behind that a loss may read, in words: points are then evaluated one by one.
        written: the buffers among it.

    Raises:
        UnsupportedModel: the path is ``stacked`` or ``vmap``, and the model must be evaluated point by point.
    """
    if path is EvaluationPath.LOOP:
        return Loop(model, inputs, written=written)
    try:
        forward = Vectorised(model, inputs) if path is EvaluationPath.VMAP else Stacked(model, inputs)
        if stored:
            raise UnsupportedModel(f"one whose forward stores {stored}")
    except UnsupportedModel as error:
        if path is not EvaluationPath.AUTO:
            raise
        return Loop(model, inputs, reason=error.reason, written=written)
    return forward


@final
class Loop(_PointByPoint):
    """One functional call a point."""

    num_models = 1
    num_examples = 256

    def __init__(self, model: nn.Module, inputs: Tensor, *, reason: str = "", written: Collection[str] = ()) -> None:
        super().__init__(model, inputs, written)
        self.method = shorten(f"loop: {reason}" if reason else "loop", _METHOD_LENGTH)

    def prepare(self, states: States) -> list[dict[str, Tensor]]:
        """Returns one state a point, image filters in channels-last memory, as the trained model has them.

        Each tensor has memory of its own: of views of one tensor a product's last bit may depend on where they begin.
        """
        num_points = len(next(iter(states.values())))
        return [{name: _as_trained(values[i]) for name, values in states.items()} for i in range(num_points)]

    def outputs(self, prepared: list[dict[str, Tensor]], inputs: Tensor) -> Tensor:
        """Returns the outputs (n, B, ...)."""
        return torch.stack([self._run(state, inputs) for state in prepared])


@final
class Vectorised(_PointByPoint):
    """One vectorised call."""

    method = "vmap"
    num_models = 8
    num_examples = 64

    def prepare(self, states: States) -> dict[str, Tensor]:
        """Returns the states as they are."""
        return dict(states)

    def outputs(self, prepared: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """Returns the outputs (n, B, ...)."""
        return vmap(lambda state: self._run(state, inputs))(prepared)


@final
class Stacked(Forward):
    """Side by side as one wide network."""

    method = "stacked"

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        self._stacked = StackedModel(model)
        self._chunk = self._stacked.chunk(inputs)
        self.num_models, self.num_examples = self._chunk.num_models, self._chunk.num_examples
        self.num_threads = num_cores()

    def prepare(self, states: States) -> Any:
        """Returns the weights as wide layers."""
        return self._stacked.prepare(dict(states))

    def arrange(self, inputs: Tensor) -> list[Tensor]:
        """Returns the inputs in parts, with copies of the last one behind it."""
        return self._stacked.arrange(filled(inputs, _ALIGNED_EXAMPLES), self._chunk.num_map_examples)

    def outputs(self, prepared: Any, inputs: list[Tensor]) -> Tensor:
        """Returns the outputs (n, >= B, ...)."""
        return self._stacked(prepared, inputs)

    def moments(self, states: States, inputs: Tensor) -> dict[str, Tensor]:
        """Returns the moments (n, C)."""
        in_threads = partial(map_in_order, num_threads=self.num_threads)
        return self._stacked.moments(dict(states), inputs, in_threads)


def _as_trained(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.channels_last if tensor.dim() == 4 else torch.contiguous_format)
