"""Which tensors of a module's state make a point: the parameters, in the order of theta, and the buffers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lmc_lab.errors import UserError
from lmc_lab.landscape.parameters import ParameterLayout


@dataclass(frozen=True)
class StateLayout:
    """The tensors of a module that make a point, under the names in its state dict.

    All parameters of the task's module are theta, those of its loss included. A tensor with several names counts once, under
    the first; a buffer that is not in the state dict stays as the module makes it.
    """

    parameters: ParameterLayout
    buffers: tuple[str, ...]
    dtypes: Mapping[str, torch.dtype]  # of both, as the module is made: points are evaluated in these

    @classmethod
    def of(cls, module: nn.Module) -> "StateLayout":
        """Returns the layout of a module whose parameters are all initialised."""
        saved = module.state_dict()
        parameters = dict(module.named_parameters())
        buffers = {name: buffer for name, buffer in module.named_buffers() if name in saved}
        dtypes = {name: tensor.dtype for name, tensor in (parameters | buffers).items()}
        return cls(ParameterLayout.of(parameters), tuple(buffers), dtypes)

    def theta(self, state: Mapping[str, Tensor], path: Path) -> Tensor:
        """Returns theta (D,) of the state dict that was in the file `path`.

        Raises:
            UserError: it is the state of another module, or of one whose weights have diverged.
        """
        theta = self.parameters.flatten(self._chosen(state, self.parameters.names, path))
        if not theta.isfinite().all():
            raise UserError(
                f"expected finite weights in {path}, found NaN or infinity: that run has diverged; "
                "train with a lower task.optimizer.lr, or leave that run out"
            )
        return theta

    def own_buffers(self, state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
        """Returns the buffers in the state dict that was in the file `path`.

        Raises:
            UserError: it is the state of another module.
        """
        return self._chosen(state, self.buffers, path)

    def load(self, module: nn.Module, theta: Tensor, buffers: Mapping[str, Tensor]) -> None:
        """Copies a point into a module, whose tensors keep their precision and their place in memory."""
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        with torch.no_grad():
            for name, value in (self.parameters.unflatten(theta) | dict(buffers)).items():
                tensors[name].copy_(value)

    def _chosen(self, state: Mapping[str, Tensor], names: tuple[str, ...], path: Path) -> dict[str, Tensor]:
        if missing := [name for name in names if name not in state]:
            raise UserError(
                f"expected the state of the task's module in {path}, found none of {missing[0]}; "
                "go back to the code that it was trained with, or choose another output_dir and train again"
            )
        return {name: state[name].to(self.dtypes[name]) for name in names}
