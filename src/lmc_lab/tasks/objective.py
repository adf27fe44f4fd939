"""The loss of a point theta on a set of examples, for many points at once; BatchNorm at such points is decided here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lmc_lab.data.examples import Examples
from lmc_lab.landscape.hull import Evaluation
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.tasks.supervised import SupervisedTask

Buffers = Mapping[str, Tensor]  # name -> (P, *shape), the buffers that belong to P endpoints


class BatchNormPolicy(StrEnum):
    """Where the moments of a BatchNorm layer come from at a point that was never trained at."""

    REESTIMATE = "reestimate"  # the moments of one fixed batch of training examples, at every evaluated point
    INTERPOLATE = "interpolate"  # the endpoints' moments, mixed as the weights are; a perturbation has its endpoint's
    KEEP = "keep"  # the moments of the endpoint with the largest weight


@dataclass(frozen=True)
class Points:
    """n points with the buffers that go with them."""

    states: list[dict[str, Tensor]]  # one state a point, names as in the model

    def __len__(self) -> int:
        return len(self.states)


class Objective:
    """Losses of points of a task's parameter space; the same examples in the same order and chunks for each."""

    def __init__(
        self,
        module: SupervisedTask,
        *,
        train: Examples,
        bn_policy: BatchNormPolicy = BatchNormPolicy.REESTIMATE,
        bn_examples: int = 2048,
        chunk_size: int = 256,
    ) -> None:
        """Takes the model and the loss from `module`.

        Args:
            module: its parameters' values do not matter.
            train: the training set, from which `reestimate` takes the first `bn_examples`.
            bn_policy: see `BatchNormPolicy`; without effect for a model without running moments.
            bn_examples: size of the fixed batch.
            chunk_size: examples that are read at a time.
        """
        self.module = module
        self.model = module.model.eval()
        self.layout = ParameterLayout.of(dict(self.model.named_parameters()))
        self.bn_policy = bn_policy
        self._bn_inputs = train.batch(slice(0, bn_examples))[0] if _moment_layers(self.model) else None
        self._chunk_size = chunk_size

    def points(self, thetas: Tensor, mixture: Tensor, buffers: Buffers) -> Points:
        """Returns points with parameters `thetas` (n, D) and the buffers that the policy gives them.

        Args:
            thetas: the parameters, (n, D).
            mixture: the weights of the P endpoints in each point, (n, P): `buffers` are mixed by them.
            buffers: the endpoints' own.
        """
        mixed = self._mix(mixture, buffers)
        states = []
        for i, theta in enumerate(thetas):
            state = _as_stored(self.layout.unflatten(theta)) | {
                name: values[i].clone() for name, values in mixed.items()
            }
            if self.bn_policy is BatchNormPolicy.REESTIMATE and self._bn_inputs is not None:
                _reestimate(self.model, state, self._bn_inputs)
            states.append(state)
        return Points(states)

    def evaluate(self, points: Points, examples: Examples) -> Evaluation:
        """Returns mean loss (and accuracy) of each point over `examples`, summed in float64."""
        loss_sum = torch.zeros(len(points), dtype=torch.float64)
        num_correct = torch.zeros(len(points), dtype=torch.float64)
        has_accuracy = True
        for i, outputs, targets in self._outputs(points, examples):
            loss_sum[i] += self.module.per_example_loss(outputs, targets).sum(dtype=torch.float64)
            correct = self.module.is_correct(outputs, targets)
            has_accuracy = correct is not None
            num_correct[i] += correct.sum() if correct is not None else 0
        return Evaluation(loss_sum / len(examples), num_correct / len(examples) if has_accuracy else None)

    def evaluator(self, examples: Examples, buffers: Buffers) -> Callable[[Tensor, Tensor], Evaluation]:
        """Returns the function (thetas, mixture) -> Evaluation that `landscape.hull.probe_hull` takes."""
        return lambda thetas, mixture: self.evaluate(self.points(thetas, mixture, buffers), examples)

    @torch.no_grad()
    def _outputs(self, points: Points, examples: Examples) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yields (point, outputs, targets): a chunk of examples is read once for all points."""
        for inputs, targets in examples.chunks(self._chunk_size):
            for i, state in enumerate(points.states):
                yield i, functional_call(self.model, state, (inputs,)), targets

    def _mix(self, mixture: Tensor, buffers: Buffers) -> dict[str, Tensor]:
        if self.bn_policy is BatchNormPolicy.INTERPOLATE:
            return {name: _mean(mixture, values) for name, values in buffers.items()}
        return {name: values[mixture.argmax(dim=1)] for name, values in buffers.items()}


def _mean(mixture: Tensor, values: Tensor) -> Tensor:
    """Returns the mixtures of `values` (P, *shape), (n, *shape), in float64 and rounded once; integers are not mixed."""
    if not values.is_floating_point():
        return values[mixture.argmax(dim=1)]
    return torch.tensordot(mixture, values.double(), dims=1).to(values.dtype)


def _as_stored(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns image filters in channels-last memory, as the trained model has them."""
    channels_last = torch.channels_last
    return {
        name: tensor.contiguous(memory_format=channels_last) if tensor.dim() == 4 else tensor
        for name, tensor in state.items()
    }


def _moment_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, layer) for name, layer in model.named_modules() if getattr(layer, "running_mean", None) is not None]


@torch.no_grad()
def _reestimate(model: nn.Module, state: dict[str, Tensor], inputs: Tensor) -> None:
    """Sets the running moments in `state` to those of `inputs`, whole: with momentum 1 nothing of the old ones stays.

    PyTorch's default momentum 0.1 would leave an average over the last twenty batches.
    """
    layers = [layer for _, layer in _moment_layers(model)]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.train()
            layer.momentum = 1.0  # type: ignore[assignment]
        functional_call(model, state, (inputs,))  # writes the moments into the buffers of `state`
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.eval()
            layer.momentum = momentum
