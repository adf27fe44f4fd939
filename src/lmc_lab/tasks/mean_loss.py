"""The losses of single examples, from a loss function that returns their mean: an example's is that of a batch of it alone."""

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor
from torch.func import vmap

from lmc_lab.errors import UserError, is_users_own, one_line, raised_in

LossFunction = Callable[[Tensor, Tensor], Tensor]  # outputs (B, ...), targets (B, ...) -> their mean loss, a scalar

_ROUNDING = 1e-4  # relative, of float32 sums over some tens of examples, which are off by 1e-6


@torch.no_grad()
def per_example(loss: LossFunction, outputs: Tensor, targets: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the function (outputs (B, ...), targets (B, ...)) -> losses (B,) of single examples.

    All batches of one are computed at once by `torch.func.vmap`; where that cannot be done (the loss asks for the value of
    a tensor, say), or has another result, they are computed one by one, which is slow.

    Args:
        loss: their mean.
        outputs: some, on which is tried whether it is a mean, (B, ...).
        targets: of these, (B, ...).

    Raises:
        UserError: it returns no scalar, or its value for a batch is not the mean of those of its examples.
    """
    try:
        whole = loss(outputs.clone(), targets.clone())
    except (RuntimeError, TypeError, ValueError) as error:
        if is_users_own(error) and not raised_in(error, "torch"):
            raise  # and keeps its traceback, which says where
        raise UserError(
            f"expected loss(outputs, targets) to take outputs {outputs.dtype} {tuple(outputs.shape)} and targets "
            f"{targets.dtype} {tuple(targets.shape)}, found an error in it ({one_line(error)}); change one of the three "
            "(cross_entropy takes classes as whole numbers: targets.long())"
        ) from error
    if not isinstance(whole, Tensor) or whole.dim() != 0:
        found = f"a tensor {tuple(whole.shape)}" if isinstance(whole, Tensor) else type(whole).__name__
        raise UserError(
            f"expected loss(outputs, targets) to return a scalar tensor, found {found}; use reduction='mean'"
        )
    one_by_one = _one_by_one(loss)
    alone = one_by_one(outputs, targets)
    if not _agree(whole, alone.mean()):
        raise UserError(
            f"expected loss(outputs, targets) to be a mean over examples, found {float(whole):.6g} for {len(outputs)} examples "
            f"whose own losses have the mean {float(alone.mean()):.6g}; use reduction='mean', without weights of classes, "
            "ignore_index, or terms that compare examples"
        )
    at_once = vmap(lambda output, target: loss(output.unsqueeze(0), target.unsqueeze(0)))
    with suppress(Exception):  # whatever vmap cannot do with a function of the user's
        if _agree(at_once(outputs.clone(), targets.clone()), alone):
            return at_once
    return one_by_one


def _one_by_one(loss: LossFunction) -> Callable[[Tensor, Tensor], Tensor]:
    def losses(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.stack([loss(outputs[i : i + 1], targets[i : i + 1]) for i in range(len(outputs))])

    return losses


def _agree(actual: Tensor, expected: Tensor) -> bool:
    return torch.allclose(actual, expected, rtol=_ROUNDING, atol=0.0, equal_nan=True)
