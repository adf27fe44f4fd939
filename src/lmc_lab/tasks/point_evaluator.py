"""The loss of a point of a task's parameter space on a set of examples, for many points at once."""

import logging
from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor

from lmc_lab.data.examples import Examples
from lmc_lab.errors import UserError
from lmc_lab.inputs import Inputs, each
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.hull import Evaluate, Evaluation
from lmc_lab.landscape.parameters import ParameterLayout, States
from lmc_lab.stacked.graph import UnsupportedModel
from lmc_lab.tasks.arithmetic import float32_products
from lmc_lab.tasks.batch_norm import BufferPolicy, Buffers
from lmc_lab.tasks.device import Device, PassSizes
from lmc_lab.tasks.differentiable_loss import DifferentiableLoss
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.forward import EXAMPLES_IN_CACHE, EvaluationPath, Forward, Outputs, padded
from lmc_lab.tasks.forward_choice import build_forward, one_by_one
from lmc_lab.tasks.judge import Judge
from lmc_lab.tasks.judged_model import JudgedModel
from lmc_lab.tasks.threads import map_in_order

log = logging.getLogger(__name__)

_NUM_TRIED = 64  # examples on which the module is run to see what it does


class PointEvaluator:
    """Evaluates points: each on the same examples, in the same order and in the same chunks.

    All is computed on one device, in full float32 (or in the precision of the module), whatever a trainer used. Points,
    buffers and examples that are elsewhere are brought there; what is returned is on the CPU, but for `points`.

    Args:
        module: the model and the loss, which goes to the device; its parameters' values do not matter. All of them are theta.
        train: the training set, from which the policy `reestimate` takes its batch.
        settings: how.
        device: where; the one that the settings name for None.

    Raises:
        UserError: the settings name a device that is not there, or one on which equal points have losses that differ.
    """

    @float32_products()
    def __init__(
        self,
        module: JudgedModel,
        train: Examples,
        settings: EvaluationSettings | None = None,
        *,
        device: Device | None = None,
    ) -> None:
        settings = settings or EvaluationSettings()
        self.device = device or Device.named(settings.device)
        module.eval().to(self.device.torch_device)
        train = train.on(self.device.torch_device)
        self._layout = ParameterLayout.of(dict(module.named_parameters()))
        self._buffer_policy = BufferPolicy(module, train, settings)
        inputs, targets = (
            each(lambda tensor: tensor.to(self.device.torch_device), part) for part in train.batch(slice(0, _NUM_TRIED))
        )
        self._judge = Judge(module, inputs, targets)
        self._choose_forward(module, inputs, train, settings)
        num_examples = EXAMPLES_IN_CACHE if self.device.total_memory is None else self._forward.num_examples
        self.differentiable = DifferentiableLoss(module, self._judge, self.device.torch_device, num_examples)
        _log_once(self.method if self.device.total_memory is None else f"{self.method} on {self.device.name}")

    def _choose_forward(
        self, module: JudgedModel, inputs: Inputs, train: Examples, settings: EvaluationSettings
    ) -> None:
        """Sets the way to run the module; where sums are a library's, one in which equal points have equal losses."""
        judge, path, is_of_library = self._judge, EvaluationPath(settings.path), self.device.total_memory is not None
        sizes = self.device.sizes(judge.bytes_per_example, settings.memory) if is_of_library else None
        self._forward: Forward = build_forward(
            module, inputs, path, sizes=sizes, stored=judge.stored, written=judge.written
        )
        if not is_of_library or self._has_equal_losses(module, train):
            return
        reason = f"one whose last bit depends on a point's place on {self.device.name}"
        if path is EvaluationPath.STACKED:
            raise UnsupportedModel(reason)
        self._forward = one_by_one(module, inputs, sizes=sizes, reason=reason, written=judge.written)
        if not self._has_equal_losses(module, train):
            raise UserError(
                f"expected equal points to have equal losses, found that they differ from call to call on {self.device.name}, "
                "and a strict < would decide nothing; evaluate on the CPU (evaluation.device=cpu)"
            )

    def _has_equal_losses(self, module: JudgedModel, train: Examples) -> bool:
        """Returns whether copies of the module, one more than are evaluated at once, have losses of the same bits."""
        count = self._forward.num_models + 1
        theta = self._layout.flatten(dict(module.named_parameters())).detach()
        buffers = {name: buffer[None] for name, buffer in module.named_buffers() if name in module.state_dict()}
        points = self.points(theta.repeat(count, 1), torch.ones(count, 1, dtype=torch.float64), buffers)
        judged = self._losses(points, train.first(self._forward.num_examples))
        losses = torch.cat([losses for *_, losses, _ in judged]).nan_to_num()
        sums = losses.sum(dim=1, dtype=torch.float64)
        return torch.equal(losses, losses[:1].expand_as(losses)) and torch.equal(sums, sums[:1].expand_as(sums))

    @property
    def method(self) -> str:
        """Returns how points are evaluated, and why one by one if that was not asked for."""
        return self._forward.method

    @property
    def pass_sizes(self) -> PassSizes:
        """Returns how many points are evaluated at once, and on how many examples."""
        return PassSizes(self._forward.num_models, self._forward.num_examples)

    @float32_products()
    def points(self, thetas: Tensor, coefficients: Tensor, buffers: Buffers) -> States:
        """Returns points with parameters `thetas` (n, D) and the buffers that the policy gives them.

        Args:
            thetas: the parameters, (n, D).
            coefficients: of the P endpoints in each point, (n, P), by which their `buffers` are mixed.
            buffers: the endpoints' own; moments of BatchNorm layers may be missing where the policy replaces them.

        Raises:
            UserError: others are missing.
        """
        thetas, coefficients = (tensor.to(self.device.torch_device) for tensor in (thetas, coefficients))
        there = {name: values.to(self.device.torch_device) for name, values in buffers.items()}
        states = self._layout.unflatten(thetas) | self._buffer_policy.mixed(coefficients, there)
        return states | self._buffer_policy.reestimated(self._forward, states)

    @float32_products()
    def evaluate(self, points: States, examples: Examples) -> Evaluation:
        """Returns mean loss (and accuracy) of each point over `examples`, summed in float64."""
        num_points = len(next(iter(points.values())))
        loss_sum, num_correct = torch.zeros(2, num_points, dtype=torch.float64, device=self.device.torch_device)
        has_accuracy = True
        for cut, _, losses, correct in self._losses(points, examples):
            loss_sum[cut] += losses.sum(dim=1, dtype=torch.float64)
            has_accuracy = correct is not None
            num_correct[cut] += 0 if correct is None else correct.sum(dim=1)
        accuracy = (num_correct / len(examples)).cpu() if has_accuracy else None
        return Evaluation((loss_sum / len(examples)).cpu(), accuracy)

    def evaluate_on(self, examples: Examples, buffers: Buffers) -> Evaluate:
        """Returns the function (thetas, coefficients) -> Evaluation that `landscape.hull.probe_hull` takes."""
        there = examples.on(self.device.torch_device)
        return lambda thetas, coefficients: self.evaluate(self.points(thetas, coefficients, buffers), there)

    @float32_products()
    def correct_masks(self, points: States, examples: Examples) -> Tensor | None:
        """Returns which examples each point has right, bool (n, N), or None if the task has no right and wrong.

        Raises:
            NotFinite: the loss of a point, here called endpoint, is NaN or infinite.
        """
        num_points = len(next(iter(points.values())))
        masks = torch.zeros(num_points, len(examples), dtype=torch.bool, device=self.device.torch_device)
        loss_sum = torch.zeros(num_points, dtype=torch.float64, device=self.device.torch_device)
        for cut, part, losses, correct in self._losses(points, examples):
            if correct is None:
                return None
            loss_sum[cut] += losses.sum(dim=1, dtype=torch.float64)
            masks[cut, part] = correct
        check_losses(loss_sum.cpu(), "endpoint")
        return masks.cpu()

    @float32_products()
    def judge_each(self, points: States, examples: Examples) -> tuple[Tensor, Tensor | None]:
        """Returns the loss of each example at each point, (n, N) float64, and which are right, bool (n, N) or None."""
        shape = len(next(iter(points.values()))), len(examples)
        losses, is_right = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.bool)
        has_right = False
        for cut, part, losses_there, correct in self._losses(points, examples):
            losses[cut, part] = losses_there.cpu().double()
            if correct is not None:
                is_right[cut, part], has_right = correct.cpu(), True
        return losses, is_right if has_right else None

    @float32_products()
    @torch.no_grad()
    def output_size(self, points: States, examples: Examples) -> float:
        """Returns the largest absolute value among the outputs of all points on `examples`."""
        chunks = examples.on(self.device.torch_device).chunks(self._forward.num_examples)
        groups = [outputs for *_, outputs in self._groups(points)]
        parts_of = (self._forward.inputs(inputs) for inputs, _ in chunks)
        sizes = (outputs(parts).abs().max() for parts in parts_of for outputs in groups)
        return max(map(float, sizes))

    @property
    def loss_is_of_outputs(self) -> bool:
        """Returns whether the loss of an example is a function of its outputs and target alone, whatever the point."""
        return not self._judge.uses_point and not self._judge.stored

    @float32_products()
    @torch.no_grad()
    def evaluate_outputs(self, points: States, examples: Examples, further: Callable[[Tensor], Tensor]) -> Evaluation:
        """Returns mean loss (and accuracy) of outputs over `examples`, summed in float64.

        Args:
            points: n points.
            examples: on which they are evaluated.
            further: makes of the outputs (n, B, ...) of all points on some examples those that are judged, (m, B, ...).
        """
        examples = examples.on(self.device.torch_device)
        groups = list(self._groups(points))
        loss_sums, nums_correct = [], []
        for inputs, targets in examples.chunks(self._forward.num_examples):
            parts, real_targets = self._forward.inputs(inputs), self._forward.targets(targets)[: len(targets)]
            outputs = torch.cat([run(parts)[: cut.stop - cut.start, : len(targets)] for cut, _, run in groups])
            judged = further(outputs)
            losses, correct = self._judge(judged, real_targets, {"": judged})
            loss_sums.append(losses.sum(dim=1, dtype=torch.float64))
            nums_correct += [] if correct is None else [correct.sum(dim=1, dtype=torch.float64)]
        accuracy = (torch.stack(nums_correct).sum(dim=0) / len(examples)).cpu() if nums_correct else None
        return Evaluation((torch.stack(loss_sums).sum(dim=0) / len(examples)).cpu(), accuracy)

    @float32_products()
    @torch.no_grad()
    def visit_outputs(self, points: States, examples: Examples, visit: Callable[[slice, Tensor, Tensor], None]) -> None:
        """Gives `visit` the outputs (m, B, ...) of the points at a slice on some examples, with their targets (B, ...)."""
        examples = examples.on(self.device.torch_device)
        groups = list(self._groups(points))
        for inputs, targets in examples.chunks(self._forward.num_examples):
            arranged, there = self._forward.inputs(inputs), targets.to(self.device.torch_device)
            for cut, _, run in groups:
                visit(cut, run(arranged)[: cut.stop - cut.start, : len(targets)], there)

    @torch.no_grad()
    def _losses(self, points: States, examples: Examples) -> Iterator[tuple[slice, slice, Tensor, Tensor | None]]:
        """Yields (points, examples, losses (n, B), correct (n, B)): each chunk of examples is read once for all points."""
        groups = list(self._groups(points))
        examples = examples.on(self.device.torch_device)

        @torch.no_grad()  # each thread has a switch of its own
        def judge(part: slice) -> list[tuple[slice, slice, Tensor, Tensor | None]]:
            inputs, targets = examples.batch(part)
            parts, all_targets = self._forward.inputs(inputs), self._forward.targets(targets)
            judged = []
            for cut, states, outputs_on in groups:
                outputs = outputs_on(parts)[:, : len(all_targets)]
                losses, correct = self._judge(outputs, all_targets, states)
                # Without those on copies of the last example.
                losses, correct = losses[:, : len(targets)], None if correct is None else correct[:, : len(targets)]
                judged.append((cut, part, losses, correct))
            return judged

        size = self._forward.num_examples
        spans = [slice(start, start + size) for start in range(0, len(examples), size)]
        num_threads = 1 if self._judge.uses_point else self._forward.num_threads
        for judged in map_in_order(judge, spans, num_threads=num_threads):
            yield from judged

    def _groups(self, points: States) -> Iterator[tuple[slice, States, Outputs]]:
        """Yields points a group at a time: where they are, their states, and what runs the model there.

        All groups are of one size, on which the last bit of a loss may depend: the last is padded with copies of its last
        point.
        """
        num_points, size = len(next(iter(points.values()))), self._forward.num_models
        for start in range(0, num_points, size):
            cut = slice(start, min(start + size, num_points))
            states = {name: values[cut] for name, values in points.items()}
            yield cut, states, self._forward.at({name: padded(values, size) for name, values in states.items()})


@cache
def _log_once(method: str) -> None:
    log.info("points are evaluated so: %s", method)
