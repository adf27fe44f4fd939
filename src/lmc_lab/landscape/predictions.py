"""Which examples do all endpoints have right? Correct masks and their intersections (section 4; Figure 5, bottom row).

Shapes: P endpoints of a mode, N examples, M modes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def pack_mask(mask: Tensor) -> Tensor:
    """Returns masks (..., N) bool as bits, uint8 (..., ceil(N / 8)), the first example in the lowest bit.

    Raises:
        ValueError: the mask is not bool.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"expected a mask of torch.bool, found {mask.dtype}")
    padded = torch.nn.functional.pad(mask, (0, -mask.shape[-1] % 8))
    bits = padded.reshape(*mask.shape[:-1], -1, 8).to(torch.uint8)
    return (bits << _shifts(mask)).sum(dim=-1, dtype=torch.uint8)


def unpack_mask(packed: Tensor, num_examples: int) -> Tensor:
    """Returns the masks (..., num_examples) bool that `pack_mask` packed into uint8 (..., ceil(num_examples / 8)).

    Raises:
        ValueError: not so many examples were packed.
    """
    if packed.dtype != torch.uint8 or packed.shape[-1] != -(-num_examples // 8):
        found = f"{packed.dtype} {tuple(packed.shape)}"
        raise ValueError(f"expected uint8 (..., {-(-num_examples // 8)}) for {num_examples} examples, found {found}")
    bits = (packed.unsqueeze(-1) >> _shifts(packed)) & 1
    return bits.flatten(-2).bool()[..., :num_examples]


def _shifts(like: Tensor) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=like.device)


def intra_mode(masks: Tensor) -> Tensor:
    """Returns S_j (N,) bool: the examples that every endpoint of a mode has right, from C_i^j as masks (P, N) bool."""
    return masks.all(dim=0)


def inter_mode(intra_modes: Sequence[Tensor]) -> Tensor:
    """Returns S* (N,) bool: the examples in every mode's S_j, from M masks (N,) bool.

    It intersects M times as many sets as an S_j and is smaller by construction: compare with `equal_count_control`.
    """
    return torch.stack(list(intra_modes)).all(dim=0)


def draw_examples(masks: Tensor, num_examples: int, *, generator: torch.Generator) -> Tensor:
    """Returns up to `num_examples` examples that all endpoints have right, then up to as many that not all have.

    Both are the first of one random order of all examples, so that modes which were measured on the same examples show the
    same ones as far as they can.

    Args:
        masks: C_i^j, (P, N) bool.
        num_examples: of each kind, at most.
        generator: of the order, on the CPU.

    Returns:
        Their indices, int64 (n,), increasing within each kind.
    """
    order = torch.randperm(masks.shape[1], generator=generator)
    is_shared = intra_mode(masks).cpu()[order]
    return torch.cat([order[kind][:num_examples].sort().values for kind in (is_shared, ~is_shared)])


def shrinkage(masks: Tensor) -> Tensor:
    """Returns the share of examples that p endpoints have right in common, for p = 1 ... P, float64 (P,).

    Each is the mean over all choices of p of the P endpoints, exactly: an example that c of them have right is in the
    intersection of C(c, p) of the C(P, p) choices. The first entry is the mean accuracy, the last is |S_j| / N.

    Args:
        masks: C_i^j, (P, N) bool.

    Raises:
        ValueError: no endpoints or no examples.
    """
    num_endpoints, num_examples = masks.shape
    if not num_endpoints or not num_examples:
        raise ValueError(f"expected masks (P, N) with P, N >= 1, found {tuple(masks.shape)}")
    counts = torch.arange(num_endpoints + 1, dtype=torch.float64)
    share = torch.bincount(masks.sum(dim=0).cpu(), minlength=num_endpoints + 1).double() / num_examples
    taken = torch.arange(num_endpoints, dtype=torch.float64)
    # C(c, p) / C(P, p) = prod_{q < p} (c - q) / (P - q); once c is used up a factor is zero.
    factors = (counts[:, None] - taken).clamp(min=0) / (num_endpoints - taken)
    return share @ factors.cumprod(dim=1)


@dataclass(frozen=True)
class SharedCorrect:
    """Which examples the P endpoints of a mode have right, each alone and all of them (Figure 5, bottom row)."""

    masks: Tensor  # (P, N) bool, C_i^j

    @property
    def intra_mode(self) -> Tensor:
        """Returns S_j, the examples that all endpoints have right, bool (N,)."""
        return intra_mode(self.masks)

    @property
    def shares(self) -> Tensor:
        """Returns `shrinkage` of the masks, float64 (P,): from the mean accuracy to |S_j| / N."""
        return shrinkage(self.masks)


@dataclass(frozen=True)
class EqualCountControl:
    """Intersections of as many endpoints as a mode has, drawn evenly from all modes."""

    mean: float  # share of examples, over the draws
    draws: Tensor  # (num_draws,) float64, share of examples
    num_endpoints: int  # in each intersection


def equal_count_control(
    masks: Sequence[Tensor], *, generator: torch.Generator, num_draws: int = 100
) -> EqualCountControl:
    """Returns |S| / N for intersections S of P endpoints drawn without replacement, P / M from each mode.

    Compared with |S_j| / N it shows what different modes, not more sets, take away. P is that of the smallest mode;
    where M does not divide it, each draw takes the remainder from modes chosen at random.

    Args:
        masks: C_i^j of each mode, M tensors (P_j, N) bool.
        generator: of the draws, on the CPU.
        num_draws: number of intersections.

    Raises:
        ValueError: no modes, no draws, or modes that were measured on different examples.
    """
    if not masks or num_draws < 1 or len({mask.shape[1] for mask in masks}) != 1:
        shapes = [tuple(mask.shape) for mask in masks]
        raise ValueError(f"expected masks (P, N) of equal N and num_draws >= 1, found {shapes} and {num_draws}")
    num_endpoints = min(len(mask) for mask in masks)
    draws = [float(_mixed(masks, num_endpoints, generator).double().mean()) for _ in range(num_draws)]
    return EqualCountControl(sum(draws) / num_draws, torch.tensor(draws, dtype=torch.float64), num_endpoints)


def _mixed(masks: Sequence[Tensor], num_endpoints: int, generator: torch.Generator) -> Tensor:
    """Returns the intersection (N,) bool of `num_endpoints` masks drawn evenly from the modes."""
    share, remainder = divmod(num_endpoints, len(masks))
    extra = set(torch.randperm(len(masks), generator=generator)[:remainder].tolist())
    drawn = []
    for j, mask in enumerate(masks):
        chosen = torch.randperm(len(mask), generator=generator)[: share + (j in extra)]
        drawn.append(intra_mode(mask[chosen.to(mask.device)]))
    return inter_mode(drawn)
