"""The neurons of a task's model that may change places: what a trace says, and a trial of it."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lmc_lab.inputs import Inputs, each
from lmc_lab.landscape.permutations import Block, permuted, random_permutation
from lmc_lab.stacked.graph import UnsupportedModel
from lmc_lab.stacked.units import permutable_blocks

_SAME = 1e-9  # of the largest output, in float64: a sum in another order is far below, another function far above


class NoPermutations(Exception):  # noqa: N818  it says what is missing
    """Nobody knows which neurons of a model may change places; the message says why, after "since"."""


def tried_blocks(module: nn.Module, state: Mapping[str, Tensor], inputs: Inputs) -> list[Block]:
    """Returns the blocks of units of a model that may change places, seen to do so without a change of its outputs.

    Args:
        module: of a task, on the CPU.
        state: parameters and buffers of a point at which it is tried, (*shape).
        inputs: some of what it takes, (B, ...).

    Raises:
        NoPermutations: the model's trace is not understood or says something wrong, or no neurons may change places.
    """
    try:
        blocks = permutable_blocks(module)
    except UnsupportedModel as error:
        raise NoPermutations(f"the model has {error.reason}") from error
    if not blocks:
        raise NoPermutations("the model has no neurons that may change places")
    if not _are_symmetries(module, state, inputs, blocks):
        raise NoPermutations("with its neurons in another order the model, as it was traced, computes something else")
    return blocks


@torch.no_grad()
def _are_symmetries(module: nn.Module, state: Mapping[str, Tensor], inputs: Inputs, blocks: Sequence[Block]) -> bool:
    precise = copy.deepcopy(module).double().eval()
    original = {name: _precise(tensor) for name, tensor in state.items()}
    order = random_permutation(blocks, generator=torch.Generator().manual_seed(0))
    outputs, others = (
        functional_call(precise, tensors, (each(_precise, inputs),))
        for tensors in (original, permuted(original, blocks, order))
    )
    return bool((outputs - others).abs().max() <= _SAME * outputs.abs().max())


def _precise(tensor: Tensor) -> Tensor:
    """Returns a copy of the tensor, in float64 where it is floating-point."""
    return tensor.cpu().to(torch.float64 if tensor.is_floating_point() else tensor.dtype, copy=True)
