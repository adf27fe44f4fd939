"""Gradients of a model's outputs, each on one example, in the parameters that can be trained: rows of its Jacobian."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from lmc_lab.errors import one_line
from lmc_lab.inputs import Inputs, each
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.landscape.tangent_kernel import Gradients
from lmc_lab.tasks.derivatives import twice_differentiable

State = Mapping[str, Tensor]  # name -> (*shape), the parameters and buffers of one point


class OutputGradients:
    """Gradients at points of a model: by `torch.func` of many examples at once, or one by one where that cannot be.

    Where an example has more outputs than are asked for, in their place are m sums of all of them with random signs, over the
    root of m, the same at all points. Over draws of the signs the mean of their kernel is that of all outputs (the trace
    estimator of Hutchinson 1990).

    Args:
        module: in eval mode, on its device.
        inputs: two or more examples of what it takes, (B, ...), there.
        max_outputs: of an example, whose gradients are computed.
        seed: of the signs.
    """

    def __init__(self, module: nn.Module, inputs: Inputs, *, max_outputs: int, seed: int = 0) -> None:
        self._module = module
        trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._layout = ParameterLayout.of(trained)
        state = {name: value.detach() for name, value in (*module.named_parameters(), *module.named_buffers())}
        with torch.no_grad():
            outputs = self._outputs(state, each(lambda tensor: tensor[0], inputs))
        self.directions = _directions(outputs, max_outputs, seed)  # (O, outputs of an example)
        self._gradients, self.method = self._chosen(state, inputs)

    @property
    def dimension(self) -> int:
        """Returns the number of parameters that can be trained, D."""
        return self._layout.dimension

    def at(self, state: State, inputs: Inputs) -> Gradients:
        """Returns the function (slice, output) -> gradients (b, D) at a point on `inputs` (n, ...).

        Buffers and frozen parameters of the point are constants.
        """

        def gradients(rows: slice, output: int) -> Tensor:
            return self._gradients(state, each(lambda tensor: tensor[rows], inputs), self.directions[output])

        return gradients

    def _chosen(self, state: State, inputs: Inputs) -> tuple[Callable[[State, Inputs, Tensor], Tensor], str]:
        """Returns the faster way that works, and its name."""
        try:
            self._vectorised(state, each(lambda tensor: tensor[:2], inputs), self.directions[0])
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever torch.func cannot do with a module of the user's
            return self._one_by_one, f"one by one, since torch.func cannot: {one_line(error)[:120]}"
        return self._vectorised, "vectorised"

    def _vectorised(self, state: State, inputs: Inputs, direction: Tensor) -> Tensor:
        trained, constants = self._divided(state)

        def value(parameters: State, example: Inputs) -> Tensor:
            return self._outputs({**parameters, **constants}, example) @ direction

        gradients: dict[str, Tensor] = vmap(grad(value), in_dims=(None, 0))(trained, inputs)
        return self._layout.flatten(gradients).detach()

    def _one_by_one(self, state: State, inputs: Inputs, direction: Tensor) -> Tensor:
        trained, constants = self._divided(state)
        leaves = {name: value.clone().requires_grad_() for name, value in trained.items()}
        number = len(next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs)
        rows = []
        for index in range(number):
            example = each(lambda tensor, index=index: tensor[index], inputs)  # type: ignore[misc]
            value = self._outputs({**leaves, **constants}, example) @ direction
            gradients = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
            rows.append(self._layout.flatten(dict(zip(leaves, gradients, strict=True))))
        return torch.stack(rows)

    def _divided(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        trained = {name: state[name] for name in self._layout.names}
        return trained, {name: value for name, value in state.items() if name not in trained}

    def _outputs(self, state: State, example: Inputs) -> Tensor:
        """Returns the outputs on one example, flat. The model may change its inputs and its buffers: they are copies."""
        alone = each(lambda tensor: tensor[None].clone(), example)
        copied = {name: value if name in self._layout.names else value.clone() for name, value in state.items()}
        with twice_differentiable():  # by operations that torch.func knows
            outputs: Tensor = functional_call(self._module, copied, (alone,))
        return outputs.flatten()


def _directions(outputs: Tensor, max_outputs: int, seed: int) -> Tensor:
    """Returns the identity for at most `max_outputs` outputs, else as many random signs over the root of their number."""
    number = len(outputs)
    if number <= max_outputs:
        return torch.eye(number, dtype=outputs.dtype, device=outputs.device)
    signs = torch.randint(2, (max_outputs, number), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return (signs / max_outputs**0.5).to(outputs)
