"""The loss of a point theta on a set of examples, for many points at once; BatchNorm at such points is decided here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lmc_lab.data.examples import Examples
from lmc_lab.errors import UserError, member
from lmc_lab.landscape.curvature import ChunkLoss
from lmc_lab.landscape.hull import Evaluation
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.models.stacked.moments import has_running_moments
from lmc_lab.tasks.forward import EvaluationPath, Loop, States, build_forward, filled
from lmc_lab.tasks.supervised import SupervisedTask
from lmc_lab.tasks.threads import map_in_order
from lmc_lab.values import at_least

Buffers = Mapping[str, Tensor]  # name -> (P, *shape), the buffers that belong to P endpoints


class BatchNormPolicy(StrEnum):
    """Where the moments of a BatchNorm layer come from at a point that was never trained at."""

    REESTIMATE = "reestimate"  # the moments of one fixed batch of training examples, at every evaluated point
    INTERPOLATE = "interpolate"  # the endpoints' moments, mixed as the weights are; a perturbation has its endpoint's
    KEEP = "keep"  # the moments of the endpoint with the largest weight


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How points are evaluated.

    Args:
        bn_policy: without effect for a model without BatchNorm.
        num_bn_examples: training examples, chosen at random once and for all, in the batch of `reestimate`.
        path: one point after another, or many at once.
    """

    bn_policy: Annotated[str, BatchNormPolicy] = BatchNormPolicy.REESTIMATE
    num_bn_examples: Annotated[int, at_least(2, because="one has no variance")] = 2048
    path: Annotated[str, EvaluationPath] = EvaluationPath.AUTO


class Objective:
    """Losses of points of a task's parameter space: for each point the same examples in the same order and chunks.

    Args:
        module: the model and the loss; its parameters' values do not matter.
        train: the training set, from which `reestimate` takes its batch.
        settings: how.
    """

    def __init__(self, module: SupervisedTask, train: Examples, settings: EvaluationSettings | None = None) -> None:
        settings = settings or EvaluationSettings()
        self._module = module
        self._model = module.model.eval()
        self._layout = ParameterLayout.of(dict(self._model.named_parameters()))
        self._policy = member(BatchNormPolicy, settings.bn_policy, "evaluation.bn_policy")
        self._bn_inputs = self._moments_batch(train, settings.num_bn_examples)
        path = member(EvaluationPath, settings.path, "evaluation.path")
        self._forward = build_forward(self._model, train.batch(slice(0, 64))[0], path)

    def points(self, thetas: Tensor, mixture: Tensor, buffers: Buffers) -> States:
        """Returns points with parameters `thetas` (n, D) and the buffers that the policy gives them.

        Args:
            thetas: the parameters, (n, D).
            mixture: the weights of the P endpoints in each point, (n, P), by which their `buffers` are mixed.
            buffers: the endpoints' own.
        """
        states = self._layout.unflatten(thetas) | self._mix(mixture, buffers)
        if self._policy is BatchNormPolicy.REESTIMATE and self._bn_inputs is not None:
            states |= self._forward.moments(states, self._bn_inputs)
        return states

    def evaluate(self, points: States, examples: Examples) -> Evaluation:
        """Returns mean loss (and accuracy) of each point over `examples`, summed in float64."""
        num_points = len(next(iter(points.values())))
        loss_sum = torch.zeros(num_points, dtype=torch.float64)
        num_correct = torch.zeros(num_points, dtype=torch.float64)
        has_accuracy = True
        for cut, _, losses, correct in self._judgements(points, examples):
            loss_sum[cut] += losses.sum(dim=1, dtype=torch.float64)
            has_accuracy = correct is not None
            num_correct[cut] += 0 if correct is None else correct.sum(dim=1)
        return Evaluation(loss_sum / len(examples), num_correct / len(examples) if has_accuracy else None)

    @torch.no_grad()
    def output_size(self, points: States, examples: Examples) -> float:
        """Returns the largest output, in size, of all points over `examples`."""
        chunks = examples.chunks(self._forward.num_examples)
        groups = [prepared for _, prepared in self._groups(points)]
        arranged = (self._forward.arrange(inputs) for inputs, _ in chunks)
        sizes = (self._forward.outputs(group, inputs).abs().max() for inputs in arranged for group in groups)
        return max(map(float, sizes))

    def correct_masks(self, points: States, examples: Examples) -> Tensor | None:
        """Returns which examples each point has right, bool (n, N), or None if the task has no right and wrong."""
        masks = torch.zeros(len(next(iter(points.values()))), len(examples), dtype=torch.bool)
        for cut, place, _, correct in self._judgements(points, examples):
            if correct is None:
                return None
            masks[cut, place] = correct
        return masks

    def evaluator(self, examples: Examples, buffers: Buffers) -> Callable[[Tensor, Tensor], Evaluation]:
        """Returns the function (thetas, mixture) -> Evaluation that `landscape.hull.probe_hull` takes."""
        return lambda thetas, mixture: self.evaluate(self.points(thetas, mixture, buffers), examples)

    def chunk_losses(self, point: States, examples: Examples) -> Callable[[], Iterator[ChunkLoss]]:
        """Returns what `landscape.curvature.hessian_product` takes: the loss over `examples` as a sum over chunks.

        Each is a differentiable function of theta (D,); the buffers of the one `point` are constants.
        """
        buffers = {name: values[0] for name, values in point.items() if name not in self._layout.names}

        def losses() -> Iterator[ChunkLoss]:
            for inputs, targets in examples.chunks(Loop.num_examples):
                yield partial(self._chunk_loss, buffers, inputs, targets, len(examples))

        return losses

    def _chunk_loss(
        self, buffers: dict[str, Tensor], inputs: Tensor, targets: Tensor, num_examples: int, theta: Tensor
    ) -> Tensor:
        outputs = functional_call(self._model, self._layout.unflatten(theta) | buffers, (inputs,))
        return self._module.per_example_loss(outputs, targets).sum() / num_examples

    @torch.no_grad()
    def _judgements(self, points: States, examples: Examples) -> Iterator[tuple[slice, slice, Tensor, Tensor | None]]:
        """Yields (points, examples, losses (n, B), correct (n, B)): each chunk of examples is read once for all points."""
        groups = list(self._groups(points))

        @torch.no_grad()  # each thread has a switch of its own
        def judge(place: slice) -> list[tuple[slice, slice, Tensor, Tensor | None]]:
            inputs, targets = examples.batch(place)
            inputs = self._forward.arrange(inputs)
            return [(cut, place, *self._judge(group, inputs, targets, cut.stop - cut.start)) for cut, group in groups]

        size = self._forward.num_examples
        places = [slice(start, start + size) for start in range(0, len(examples), size)]
        for judged in map_in_order(judge, places, num_threads=self._forward.num_threads):
            yield from judged

    def _groups(self, points: States) -> Iterator[tuple[slice, Any]]:
        """Yields points a group at a time, all of one size, on which the last bit of a loss may depend.

        The last group is filled with copies of its last point.
        """
        num_points, size = len(next(iter(points.values()))), self._forward.num_models
        for start in range(0, num_points, size):
            cut = slice(start, min(start + size, num_points))
            yield cut, self._forward.prepare({name: filled(values[cut], size) for name, values in points.items()})

    def _judge(self, group: Any, inputs: Any, targets: Tensor, num_points: int) -> tuple[Tensor, Tensor | None]:
        """Returns losses and correctness (n, B) of the first `num_points` of a group of points."""
        outputs = self._forward.outputs(group, inputs)[:, : len(targets)]
        num_models, num_examples = outputs.shape[:2]
        flat = outputs.flatten(0, 1)
        repeated = targets.expand(num_models, *targets.shape).flatten(0, 1)  # a quarter of the time of repeat()
        correct = self._module.is_correct(flat, repeated)
        losses = self._module.per_example_loss(flat, repeated).view(num_models, num_examples)
        return losses[:num_points], None if correct is None else correct.view(num_models, num_examples)[:num_points]

    def _moments_batch(self, train: Examples, num_examples: int) -> Tensor | None:
        if not _has_running_moments(self._model):
            return None
        if num_examples < 2:
            raise UserError(
                f"expected evaluation.num_bn_examples >= 2, since one has no variance, found {num_examples}"
            )
        return train.draw(num_examples).batch(slice(None))[0]

    def _mix(self, mixture: Tensor, buffers: Buffers) -> dict[str, Tensor]:
        if self._policy is BatchNormPolicy.INTERPOLATE:
            return {name: _mean(mixture, values) for name, values in buffers.items()}
        return {name: values[mixture.argmax(dim=1)] for name, values in buffers.items()}


def _mean(mixture: Tensor, values: Tensor) -> Tensor:
    """Returns the mixtures of `values` (P, *shape), (n, *shape), in float64, rounded once; integers are not mixed."""
    if not values.is_floating_point():
        return values[mixture.argmax(dim=1)]
    return torch.tensordot(mixture, values.double(), dims=1).to(values.dtype)


def _has_running_moments(model: nn.Module) -> bool:
    return any(has_running_moments(layer) for layer in model.modules())
