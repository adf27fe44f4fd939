"""The loss of a point of a task's parameter space on a set of examples, for many points at once."""

import logging
from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from lmc_lab.data.examples import Examples
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.hull import Evaluate, Evaluation
from lmc_lab.landscape.parameters import ParameterLayout, States
from lmc_lab.tasks.batch_norm import BufferPolicy, Buffers
from lmc_lab.tasks.differentiable_loss import DifferentiableLoss
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.forward import EvaluationPath, Outputs, build_forward, padded
from lmc_lab.tasks.judge import Judge
from lmc_lab.tasks.judged_model import JudgedModel
from lmc_lab.tasks.threads import map_in_order

log = logging.getLogger(__name__)

_NUM_TRIED = 64  # examples on which the module is run to see what it does


class PointEvaluator:
    """Evaluates points: each on the same examples, in the same order and in the same chunks.

    Args:
        module: the model and the loss; its parameters' values do not matter. All of them are theta.
        train: the training set, from which the policy `reestimate` takes its batch.
        settings: how.
    """

    def __init__(self, module: JudgedModel, train: Examples, settings: EvaluationSettings | None = None) -> None:
        settings = settings or EvaluationSettings()
        module.eval()
        self._layout = ParameterLayout.of(dict(module.named_parameters()))
        self._buffer_policy = BufferPolicy(module, train, settings)
        inputs, targets = train.batch(slice(0, _NUM_TRIED))
        self._judge = Judge(module, inputs, targets)
        self._forward = build_forward(
            module, inputs, EvaluationPath(settings.path), stored=self._judge.stored, written=self._judge.written
        )
        self.differentiable = DifferentiableLoss(module, self._judge)
        _log_once(self.method)

    @property
    def method(self) -> str:
        """Returns how points are evaluated, and why one by one if that was not asked for."""
        return self._forward.method

    def points(self, thetas: Tensor, coefficients: Tensor, buffers: Buffers) -> States:
        """Returns points with parameters `thetas` (n, D) and the buffers that the policy gives them.

        Args:
            thetas: the parameters, (n, D).
            coefficients: of the P endpoints in each point, (n, P), by which their `buffers` are mixed.
            buffers: the endpoints' own; moments of BatchNorm layers may be missing where the policy replaces them.

        Raises:
            UserError: others are missing.
        """
        states = self._layout.unflatten(thetas) | self._buffer_policy.mixed(coefficients, buffers)
        return states | self._buffer_policy.reestimated(self._forward, states)

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

    def evaluate_on(self, examples: Examples, buffers: Buffers) -> Evaluate:
        """Returns the function (thetas, coefficients) -> Evaluation that `landscape.hull.probe_hull` takes."""
        return lambda thetas, coefficients: self.evaluate(self.points(thetas, coefficients, buffers), examples)

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

    @torch.no_grad()
    def output_size(self, points: States, examples: Examples) -> float:
        """Returns the largest absolute value among the outputs of all points on `examples`."""
        chunks = examples.chunks(self._forward.num_examples)
        groups = [outputs for *_, outputs in self._groups(points)]
        arranged = (self._forward.inputs(inputs) for inputs, _ in chunks)
        sizes = (outputs(inputs).abs().max() for inputs in arranged for outputs in groups)
        return max(map(float, sizes))

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


@cache
def _log_once(method: str) -> None:
    log.info("points are evaluated so: %s", method)
