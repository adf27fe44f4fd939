"""The loss at one point as a function that can be differentiated twice, for the Hessian."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call

from lmc_lab.data.examples import Examples
from lmc_lab.inputs import Inputs, each
from lmc_lab.landscape.curvature import NoGradient, PartialLoss
from lmc_lab.landscape.parameters import ParameterLayout, States
from lmc_lab.tasks.derivatives import twice_differentiable
from lmc_lab.tasks.forward_pass import placed
from lmc_lab.tasks.judge import Judge
from lmc_lab.tasks.judged_model import JudgedModel


class DifferentiableLoss:
    """The loss as a function of those parameters that can be trained.

    Args:
        module: the model and the loss, in eval mode.
        judge: what says the losses of the module's outputs.
        device: where the module is.
        num_examples: of which there is a graph at a time.
    """

    def __init__(self, module: JudgedModel, judge: Judge, device: torch.device, num_examples: int) -> None:
        self._module = module
        self._judge = judge
        self._device = device
        self._num_examples = num_examples
        trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._layout = ParameterLayout.of(trained)

    def trained(self, point: States) -> Tensor:
        """Returns the parameters of the one `point` that can be trained, (D',): all of theta but what is frozen.

        Raises:
            NoGradient: there are none.
        """
        if not self._layout.names:
            raise NoGradient("expected parameters that are trained, found that all are frozen (requires_grad=False)")
        return self._layout.flatten(point)[0]

    def partial_losses(self, point: States, examples: Examples) -> Callable[[], Iterator[PartialLoss]]:
        """Returns what `landscape.curvature.hessian_product` takes: the loss over `examples`, a chunk of them at a time.

        Each is a differentiable function of what `trained` returns; buffers and frozen parameters of the one `point` are
        constants.
        """
        constants = {name: values[0] for name, values in point.items() if name not in self._layout.names}

        there = examples.on(self._device)

        def losses() -> Iterator[PartialLoss]:
            for batch in there.chunks(self._num_examples):
                inputs, targets = (each(lambda tensor: tensor.to(self._device), part) for part in batch)
                yield partial(self._partial_loss, constants, inputs, targets, len(examples))

        return losses

    def _partial_loss(
        self, constants: Mapping[str, Tensor], inputs: Inputs, targets: Tensor, num_examples: int, trained: Tensor
    ) -> Tensor:
        state = self._layout.unflatten(trained) | dict(constants)
        with twice_differentiable():
            outputs = functional_call(self._module, placed(self._module, state, self._judge.written), (inputs,))
            return self._judge.losses(outputs, targets, state).sum() / num_examples
