"""The loss of a point theta on a set of examples, for many points at once; BatchNorm at such points is decided here."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lmc_lab.data.examples import Examples
from lmc_lab.errors import UserError
from lmc_lab.landscape.curvature import ChunkLoss
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.hull import Evaluation
from lmc_lab.landscape.parameters import ParameterLayout, States
from lmc_lab.stacked.moments import has_running_moments
from lmc_lab.tasks.derivatives import twice_differentiable
from lmc_lab.tasks.forward import EvaluationPath, Loop, Outputs, build_forward, padded
from lmc_lab.tasks.forward_pass import placed
from lmc_lab.tasks.judge import Judge
from lmc_lab.tasks.judged_model import JudgedModel
from lmc_lab.tasks.layout import StateLayout
from lmc_lab.tasks.state_dicts import first_three
from lmc_lab.tasks.threads import map_in_order
from lmc_lab.values import at_least, check_fields

log = logging.getLogger(__name__)

Buffers = Mapping[str, Tensor]  # name -> (P, *shape), the buffers that belong to P endpoints


class BatchNormPolicy(StrEnum):
    """Where the moments of a BatchNorm layer come from at a point that was never trained at."""

    REESTIMATE = "reestimate"  # the moments of one fixed batch of training examples, at every evaluated point
    INTERPOLATE = "interpolate"  # the endpoints' moments, mixed as the endpoints are; a perturbation has its endpoint's
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

    def __post_init__(self) -> None:
        """Raises UserError for a setting that cannot be."""
        check_fields(self, "evaluation")


class Objective:
    """Losses of points of a task's parameter space: for each point the same examples in the same order and chunks.

    Args:
        module: the model and the loss; its parameters' values do not matter. All of them are theta.
        train: the training set, from which `reestimate` takes its batch.
        settings: how.
    """

    def __init__(self, module: JudgedModel, train: Examples, settings: EvaluationSettings | None = None) -> None:
        settings = settings or EvaluationSettings()
        self._module = module.eval()
        parameters = dict(module.named_parameters())
        self._layout = ParameterLayout.of(parameters)
        self._trained = ParameterLayout.of({name: value for name, value in parameters.items() if value.requires_grad})
        self._buffers = {name: module.get_buffer(name) for name in StateLayout.of(module).buffers}
        self._policy = BatchNormPolicy(settings.bn_policy)
        self._bn_inputs = self._moments_batch(train, settings.num_bn_examples)
        path = EvaluationPath(settings.path)
        inputs, targets = train.batch(slice(0, 64))
        self._judge = Judge(module, inputs, targets)
        self._forward = build_forward(module, inputs, path, stored=self._judge.stored, written=self._judge.written)
        _log_once(self.method)

    @property
    def method(self) -> str:
        """Returns how points are evaluated, and why one by one if that was not asked for."""
        return self._forward.method

    def points(self, thetas: Tensor, mixture: Tensor, buffers: Buffers) -> States:
        """Returns points with parameters `thetas` (n, D) and the buffers that the policy gives them.

        Args:
            thetas: the parameters, (n, D).
            mixture: the coefficients of the P endpoints in each point, (n, P), by which their `buffers` are mixed.
            buffers: the endpoints' own; moments of BatchNorm layers may be missing where the policy replaces them.

        Raises:
            UserError: others are missing.
        """
        states = self._layout.unflatten(thetas) | self._mix(mixture, buffers) | self._in_place_of(buffers, len(thetas))
        if self._policy is BatchNormPolicy.REESTIMATE and self._bn_inputs is not None:
            states |= self._forward.moments(states, self._bn_inputs)
        return states

    def evaluate(self, points: States, examples: Examples) -> Evaluation:
        """Returns mean loss (and accuracy) of each point over `examples`, summed in float64."""
        num_points = len(next(iter(points.values())))
        loss_sum = torch.zeros(num_points, dtype=torch.float64)
        num_correct = torch.zeros(num_points, dtype=torch.float64)
        has_accuracy = True
        for cut, _, losses, correct in self._losses(points, examples):
            loss_sum[cut] += losses.sum(dim=1, dtype=torch.float64)
            has_accuracy = correct is not None
            num_correct[cut] += 0 if correct is None else correct.sum(dim=1)
        return Evaluation(loss_sum / len(examples), num_correct / len(examples) if has_accuracy else None)

    @torch.no_grad()
    def output_size(self, points: States, examples: Examples) -> float:
        """Returns the largest output, in size, of all points over `examples`."""
        chunks = examples.chunks(self._forward.num_examples)
        groups = [outputs for *_, outputs in self._groups(points)]
        arranged = (self._forward.inputs(inputs) for inputs, _ in chunks)
        sizes = (outputs(inputs).abs().max() for inputs in arranged for outputs in groups)
        return max(map(float, sizes))

    def correct_masks(self, points: States, examples: Examples) -> Tensor | None:
        """Returns which examples each point has right, bool (n, N), or None if the task has no right and wrong.

        Raises:
            NotFinite: the loss of a point, here called endpoint, is NaN or infinite.
        """
        num_points = len(next(iter(points.values())))
        masks = torch.zeros(num_points, len(examples), dtype=torch.bool)
        loss_sum = torch.zeros(num_points, dtype=torch.float64)
        for cut, place, losses, correct in self._losses(points, examples):
            if correct is None:
                return None
            loss_sum[cut] += losses.sum(dim=1, dtype=torch.float64)
            masks[cut, place] = correct
        check_losses(loss_sum, "endpoint")
        return masks

    def evaluator(self, examples: Examples, buffers: Buffers) -> Callable[[Tensor, Tensor], Evaluation]:
        """Returns the function (thetas, mixture) -> Evaluation that `landscape.hull.probe_hull` takes."""
        return lambda thetas, mixture: self.evaluate(self.points(thetas, mixture, buffers), examples)

    def trained(self, point: States) -> Tensor:
        """Returns the parameters of the one `point` that can be trained, (D',): all of theta but what is frozen."""
        return self._trained.flatten(point)[0]

    def chunk_losses(self, point: States, examples: Examples) -> Callable[[], Iterator[ChunkLoss]]:
        """Returns what `landscape.curvature.hessian_product` takes: the loss over `examples` as a sum over chunks.

        Each is a differentiable function of what `trained` returns; buffers and frozen parameters of the one `point` are
        constants.
        """
        constants = {name: values[0] for name, values in point.items() if name not in self._trained.names}

        def losses() -> Iterator[ChunkLoss]:
            for inputs, targets in examples.chunks(Loop.num_examples):
                yield partial(self._chunk_loss, constants, inputs, targets, len(examples))

        return losses

    def _chunk_loss(
        self, constants: dict[str, Tensor], inputs: Tensor, targets: Tensor, num_examples: int, trained: Tensor
    ) -> Tensor:
        state = self._trained.unflatten(trained) | constants
        with twice_differentiable():
            outputs = functional_call(self._module, placed(self._module, state, self._judge.written), (inputs,))
            return self._judge.losses(outputs, targets, state).sum() / num_examples

    @torch.no_grad()
    def _losses(self, points: States, examples: Examples) -> Iterator[tuple[slice, slice, Tensor, Tensor | None]]:
        """Yields (points, examples, losses (n, B), correct (n, B)): each chunk of examples is read once for all points."""
        groups = list(self._groups(points))

        @torch.no_grad()  # each thread has a switch of its own
        def judge(place: slice) -> list[tuple[slice, slice, Tensor, Tensor | None]]:
            inputs, targets = examples.batch(place)
            arranged = self._forward.inputs(inputs)
            judged = []
            for cut, own, outputs_on in groups:
                outputs = outputs_on(arranged)[:, : len(targets)]  # without those on copies of the last example
                judged.append((cut, place, *self._judge(outputs, targets, own)))
            return judged

        size = self._forward.num_examples
        places = [slice(start, start + size) for start in range(0, len(examples), size)]
        num_threads = 1 if self._judge.uses_point else self._forward.num_threads
        for judged in map_in_order(judge, places, num_threads=num_threads):
            yield from judged

    def _groups(self, points: States) -> Iterator[tuple[slice, States, Outputs]]:
        """Yields points a group at a time: where they are, their states, and what runs the model there.

        All groups are of one size, on which the last bit of a loss may depend: the last is padded with copies of its last
        point.
        """
        num_points, size = len(next(iter(points.values()))), self._forward.num_models
        for start in range(0, num_points, size):
            cut = slice(start, min(start + size, num_points))
            own = {name: values[cut] for name, values in points.items()}
            yield cut, own, self._forward.at({name: padded(values, size) for name, values in own.items()})

    def _moments_batch(self, train: Examples, num_examples: int) -> Tensor | None:
        if not _has_running_moments(self._module):
            return None
        return train.draw(num_examples).batch(slice(None))[0]

    def _in_place_of(self, buffers: Buffers, num_points: int) -> dict[str, Tensor]:
        """Returns the module's own moments for those that the endpoints came without, and that the policy replaces."""
        missing = [name for name in self._buffers if name not in buffers]
        if self._policy is BatchNormPolicy.REESTIMATE:
            needed = [name for name in missing if not has_running_moments(self._owner(name))]
        else:
            needed = missing
        if needed:
            are_moments = all(has_running_moments(self._owner(name)) for name in needed)
            raise UserError(
                f"expected endpoints with {first_three(needed)}, found none of them; save the whole of model.state_dict()"
                f"{', or take the bn_policy reestimate (evaluation.bn_policy=reestimate)' if are_moments else ''}"
            )
        return {name: self._buffers[name].expand(num_points, *self._buffers[name].shape) for name in missing}

    def _owner(self, name: str) -> nn.Module:
        return self._module.get_submodule(name.rpartition(".")[0])

    def _mix(self, mixture: Tensor, buffers: Buffers) -> dict[str, Tensor]:
        if self._policy is BatchNormPolicy.INTERPOLATE:
            return {name: _mean(mixture, values) for name, values in buffers.items()}
        return {name: values[mixture.argmax(dim=1)] for name, values in buffers.items()}


def _mean(mixture: Tensor, values: Tensor) -> Tensor:
    """Returns the mixtures of `values` (P, *shape), (n, *shape), in float64, rounded once; integers are not mixed."""
    if not values.is_floating_point():
        return values[mixture.argmax(dim=1)]
    return torch.tensordot(mixture, values.double(), dims=1).to(values.dtype)


@cache
def _log_once(method: str) -> None:
    log.info("points are evaluated so: %s", method)


def _has_running_moments(model: nn.Module) -> bool:
    return any(has_running_moments(layer) for layer in model.modules())
