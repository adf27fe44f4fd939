"""The loss of any model on fixed examples, as a function of its weights: what the measures beside this file take."""

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lmc_lab.data.from_loader import Data, examples_of
from lmc_lab.errors import UserError
from lmc_lab.landscape.hull import Evaluate, Evaluation
from lmc_lab.landscape.parameters import States
from lmc_lab.process import leave_out_advice_on_vmap
from lmc_lab.tasks.arithmetic import float32_products
from lmc_lab.tasks.device import Device
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.mean_loss import LossFunction
from lmc_lab.tasks.model_with_loss import IsCorrect, ModelWithLoss
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.state_dicts import StateDict, endpoints_of
from lmc_lab.torch_internals import buffers_of


@final
class Objective:
    """The loss of a model on fixed examples, as a function of its weights.

    The loss of a point is the mean over all examples, in eval mode and in the precision of the model's own weights, summed
    in float64. The model is left as it is, in its mode and with its weights; it may be trained on.

    Args:
        model: any module that maps one tensor (B, ...), or several by the names of its arguments, to one tensor (B, ...), or to
            a dict or an object that has it as `logits`, on one device. Its parameters are the coordinates of a point; their
            values do not matter.
        loss: `loss(outputs, targets)`, the mean over the examples of a batch, a scalar, like
            `torch.nn.functional.cross_entropy`. That it is a mean is tried on 64 examples. The loss of an example is
            that of a batch of it alone; it is fast where `torch.func.vmap` can compute it.
        data: inputs (N, ...) and targets (N, ...), or a DataLoader of such batches; several inputs are a dict. It is read
            once, into memory, and once more to see that it gives the same examples in the same order.
        train_data: the training set, from which `reestimate` takes its batch; `data` for None.
        is_correct: `is_correct(outputs, targets)` -> bool (B,), which examples are right. None: where targets are whole
            numbers (N,) and outputs (N, classes), those whose largest output is the target; else there is no accuracy.
        bn_policy: where the moments of BatchNorm layers come from at a point that was never trained at. ``reestimate``: from
            one fixed batch, at every point, as if in train mode; ``interpolate``: mixed as the weights are; ``keep``: those
            of the state dict with the largest coefficient. Without effect for models without BatchNorm.
        num_bn_examples: in the batch of `reestimate`.
        device: where points are evaluated, ``cuda`` say, on a copy of the model; where the model is for None.

    Raises:
        UserError: one of them is not as said here; the message says what to do.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: LossFunction,
        data: Data,
        *,
        train_data: Data | None = None,
        is_correct: IsCorrect | None = None,
        bn_policy: Literal["reestimate", "interpolate", "keep"] = "reestimate",
        num_bn_examples: int = 2048,
        device: torch.device | str | None = None,
    ) -> None:
        settings = EvaluationSettings(bn_policy=bn_policy, num_bn_examples=num_bn_examples)
        check_model(model)
        self.model = model
        self.examples = examples_of(data, "data")
        train = self.examples if train_data is None else examples_of(train_data, "train_data")
        where, measured_model = torch.device(device) if device is not None else _device_of(model), model
        if where != _device_of(model):
            measured_model = copy.deepcopy(model).to(where).eval()  # the user's stays where and as it is
        self.examples = self.examples.on(where)
        with being_measured(measured_model), float32_products():
            module = ModelWithLoss(measured_model, loss, self.examples, is_correct=is_correct)
            self.evaluator = PointEvaluator(module, train, settings, device=Device.of(where))

    @property
    def method(self) -> str:
        """Returns how points are evaluated: side by side (``stacked``), or one by one (``loop``) and why."""
        return self.evaluator.method

    def evaluate(self, states: Sequence[StateDict]) -> Evaluation:
        """Returns loss and accuracy of each of P state dicts, float64 (P,).

        Raises:
            UserError: one is not of this model.
        """
        thetas, evaluate = self.hull_of(states)
        return evaluate(thetas, torch.eye(len(thetas), dtype=torch.float64))

    def hull_of(self, states: Sequence[StateDict]) -> tuple[Tensor, Evaluate]:
        """Returns P state dicts as the functions of `landscape` take them.

        Returns:
            Their parameters (P, D), on the device where points are evaluated, and the loss of points that are mixtures of them.

        Raises:
            UserError: one is not of this model.
        """
        thetas, buffers = endpoints_of(self.model, states)
        evaluate = self.evaluator.evaluate_on(self.examples, _in_module(buffers))

        def leaving_the_model(points: Tensor, coefficients: Tensor) -> Evaluation:
            with being_measured(self.model):
                return evaluate(points, coefficients)

        return thetas.to(self.evaluator.device.torch_device), leaving_the_model

    def points(self, states: Sequence[StateDict]) -> States:
        """Returns P state dicts as `evaluator` takes them.

        Raises:
            UserError: one is not of this model.
        """
        thetas, buffers = endpoints_of(self.model, states)
        with being_measured(self.model):
            return self.evaluator.points(thetas, torch.eye(len(thetas), dtype=torch.float64), _in_module(buffers))


def check_model(model: nn.Module) -> None:
    """Refuses a model whose weights are no point.

    Raises:
        UserError: it is no module, or has lazy layers, no parameters, or tensors on several devices.
    """
    if not isinstance(model, nn.Module):
        found = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        instead = (
            f"give one: {model.__name__}(…)" if isinstance(model, type) else "give model, loss and data, in this order"
        )
        raise UserError(f"expected model to be a torch.nn.Module, found {found}; {instead}")
    tensors = [*model.parameters(), *model.buffers()]
    if any(map(is_lazy, tensors)):
        raise UserError("expected a model whose layers have sizes, found lazy ones; run it once on a batch")
    if not any(True for _ in model.parameters()):
        raise UserError(f"expected a model with parameters, found none in {type(model).__name__}; give the whole model")
    if len(devices := {str(tensor.device) for tensor in tensors}) > 1:
        raise UserError(
            f"expected a model on one device, found it on {' and '.join(sorted(devices))}; give model.cpu()"
        )


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


@contextmanager
def being_measured(model: nn.Module) -> Iterator[None]:
    """Puts a model of the user's into eval mode in this context, and leaves each part as it was: mode and buffers.

    Inside nothing is heard of torch's advice on `vmap`, which a command of the suite leaves out for good.
    """
    parts = [(part, part.training, dict(buffers_of(part))) for part in model.modules()]
    model.eval()
    try:
        with warnings.catch_warnings():
            leave_out_advice_on_vmap()
            yield
    finally:
        for part, training, buffers in parts:
            part.training = training
            buffers_of(part).update(buffers)


def _in_module(buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the buffers under the names that they have in a module around the model."""
    return {f"model.{name}": values for name, values in buffers.items()}
