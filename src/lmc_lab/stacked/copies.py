"""n copies of a module as one: any module, by `torch.func`."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lmc_lab.inputs import Inputs

Randomness = Literal["error", "different"]  # of layers that draw numbers: not allowed, or other numbers for each copy


class Copies:
    """n copies of a module, each with weights, buffers and arguments of its own.

    All of them are computed by one call of each operation, which `torch.func.vmap` makes of the module's; on a GPU, where a
    small network's step is the launching of its operations, n copies take little longer than one. On a CPU they take no less.

    Args:
        module: the skeleton; its own tensors are not used.
        randomness: of layers that draw numbers: ``error``, or ``different`` for each copy.
        shares_arguments: all copies have the same arguments, and not each its own.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        randomness: Randomness = "error",
        shares_arguments: bool = False,
    ) -> None:
        self._module = module
        self._randomness = randomness
        self._argument_dim = None if shares_arguments else 0

    def __call__(self, tensors: Mapping[str, Tensor], *arguments: Inputs) -> Tensor:
        """Returns what each copy returns, stacked (n, ...).

        Args:
            tensors: of all names of the module's parameters and buffers, (n, *shape). Buffers that the module changes in place
                are changed in them.
            arguments: of the module, (n, ...), or as the module has them where they are shared.
        """
        dims = (0, *[self._argument_dim] * len(arguments))
        call = vmap(self._one, in_dims=dims, randomness=self._randomness)
        outputs: Tensor = call(dict(tensors), *arguments)
        return outputs

    def _one(self, tensors: dict[str, Tensor], *arguments: Inputs) -> Tensor:
        outputs: Tensor = functional_call(self._module, tensors, arguments)
        return outputs


def stack(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Returns `count` copies of each tensor, (count, *shape), in memory of their own."""
    return {name: torch.stack([tensor.detach().contiguous()] * count) for name, tensor in tensors.items()}
