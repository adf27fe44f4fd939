"""Hulls whose corners are of several kinds."""

from collections.abc import Sequence

import torch
from torch import Tensor

MIXED = "mixed"

Members = Sequence[tuple[str, int]]  # of a hull: the kind of each corner, and the number that it has among its kind


def alone(kind: str, num_corners: int) -> Members:
    """Returns the first corners of a kind."""
    return [(kind, i) for i in range(num_corners)]


def mixtures(first: str, others: Sequence[str], num_corners: int) -> dict[str, Members]:
    """Returns mixtures by name: half of the first kind with half of each other, and where there are more all kinds in turn.

    A number, of an endpoint's place in its mode, is in a mixture once, whichever kind it is of.

    Args:
        first: a kind.
        others: further kinds.
        num_corners: P, of each hull; the first kind has half of them, rounded down.
    """
    half, kinds = num_corners // 2, [first, *others]
    members: dict[str, Members] = {
        f"{first}_and_{kind}": [(first if i < half else kind, i) for i in range(num_corners)] for kind in others
    }
    if min(len(kinds), num_corners) > 2:
        members[MIXED] = [(kinds[i % len(kinds)], i) for i in range(num_corners)]
    return members


def between_kinds(members: Members) -> Tensor:
    """Returns which pairs of a hull's corners are of different kinds, bool (P, P)."""
    kinds = [kind for kind, _ in members]
    return torch.tensor([[one != other for other in kinds] for one in kinds])
