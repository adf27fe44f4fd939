"""Checks for NaN and infinity: comparisons with NaN are false, so a share, an onset or an argmax would hide one."""

import torch
from torch import Tensor


class NotFinite(ValueError):  # noqa: N818  it says what the number is
    """A number is NaN, or infinite where that has no meaning.

    Args:
        message: what was expected and found.
        kind: of the point at which it was found.
        index: of the point among those of its kind.
    """

    def __init__(self, message: str, kind: str, index: int) -> None:
        super().__init__(message)
        self.kind = kind
        self.index = index


def check_losses(losses: Tensor, kind: str, *, allows_infinity: bool = False, what: str = "loss") -> None:
    """Refuses losses (n,) that are NaN or infinite.

    Args:
        losses: of n points.
        kind: of the points, for the message.
        allows_infinity: a loss may be +infinity, since a point far from all that was trained at may have that.
        what: they are, for the message, where they are no losses.

    Raises:
        NotFinite: one is; it says which.
    """
    is_fine = losses.isfinite() | (losses == torch.inf) if allows_infinity else losses.isfinite()
    if not is_fine.all():
        index = int((~is_fine).nonzero()[0])
        message = f"expected the {what} of every {kind} to be a number, found {float(losses[index])} at {kind} {index}"
        raise NotFinite(message, kind, index)


def check_endpoints(gram: Tensor) -> None:
    """Refuses endpoints that hold NaN or infinity, which their inner products (P, P) show.

    Raises:
        NotFinite: one does; it says which.
    """
    is_fine = gram.diagonal().isfinite()
    if not is_fine.all():
        index = int((~is_fine).nonzero()[0])
        raise NotFinite(f"expected finite endpoints, found NaN or infinity in endpoint {index}", "endpoint", index)
