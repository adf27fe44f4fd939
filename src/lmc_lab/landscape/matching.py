"""Which order of its neurons makes a network most like others, after Ainsworth et al. 2022 (Git Re-Basin, arXiv 2209.04836).

What is maximised is the inner product of parameters, which is the same as making their distance small. Found are orders that
no change of one block improves; there may be better ones.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from lmc_lab.landscape.parameters import States
from lmc_lab.landscape.permutations import Block, composed, identity, permuted

# Takes scores (n, n), float64, and returns for each row a column of its own, int64 (n,), so that their sum is largest.
Assign = Callable[[Tensor], Tensor]

_MAX_SWEEPS = 100  # as in their code; a few are enough
_RESOLUTION = 1e-12  # of an inner product, by the norms: below it a gain is rounding


def match_weights(
    fixed: Mapping[str, Tensor],
    moved: Mapping[str, Tensor],
    blocks: Sequence[Block],
    *,
    assign: Assign,
    generator: torch.Generator,
) -> list[Tensor]:
    """Returns the permutation of `moved` that their Algorithm 1 finds: blocks in random order, each the best given the others.

    Where a block is on both axes of one matrix the best is that of a linearised score, and taken if it is better.

    Args:
        fixed: the parameters of a network, (*shape).
        moved: those of the network that is permuted.
        blocks: of its units.
        assign: solves the assignment of units.
        generator: of the order of blocks.
    """
    target, current = (_in_blocks(network, blocks) for network in (fixed, moved))
    least = _RESOLUTION * (_alike(target, target) * _alike(current, current)) ** 0.5
    orders = identity(blocks)
    for _ in range(_MAX_SWEEPS):
        has_changed = False
        for number in torch.randperm(len(blocks), generator=generator).tolist():
            order = assign(_scores(target, current, blocks[number]))
            changed = permuted(current, [blocks[number]], [order])
            if _alike(target, changed) > _alike(target, current) + least:
                current, has_changed = changed, True
                orders[number] = orders[number][order]
        if not has_changed:
            break
    return orders


def match_jointly(
    networks: States, blocks: Sequence[Block], *, assign: Assign, generator: torch.Generator
) -> list[list[Tensor]]:
    """Returns a permutation of each of m networks, all found together: their Algorithm 3 (MergeMany).

    Each network in turn is matched to the mean of the others, until none changes. That is coordinate ascent on the sum of inner
    products over all pairs, the objective of C2M3 (Crisostomi et al. 2024, arXiv 2405.17897), which relaxes it instead. Every
    network has one permutation into an order that all share, so that those between networks are consistent around cycles.

    Args:
        networks: their parameters, (m, *shape).
        blocks: of units.
        assign: solves the assignment of units.
        generator: of the orders of networks and blocks.
    """
    current = _in_blocks(networks, blocks)
    num_networks = len(next(iter(current.values())))
    orders = [identity(blocks) for _ in range(num_networks)]
    for _ in range(_MAX_SWEEPS):
        has_changed = False
        for i in torch.randperm(num_networks, generator=generator).tolist():
            moved = {name: tensor[i] for name, tensor in current.items()}
            others = {name: (tensor.sum(dim=0) - tensor[i]) / (num_networks - 1) for name, tensor in current.items()}
            order = match_weights(others, moved, blocks, assign=assign, generator=generator)
            has_changed |= not all(map(torch.equal, order, identity(blocks)))
            orders[i] = composed(orders[i], order)
            for name, tensor in permuted(moved, blocks, order).items():
                current[name][i] = tensor
        if not has_changed:
            break
    return orders


def unit_products(first: Tensor, second: Tensor, indices: Tensor) -> Tensor:
    """Returns the inner products of activations of two networks' units, float64 (n, n): Z_A Z_B' of their section 3.1.

    Args:
        first: activations of a layer of network A, (features, N), an example, or a position of one, a column.
        second: those of the same layer of network B on the same examples.
        indices: of each unit among the features, (n, r).
    """
    first_rows, second_rows = (
        activations.double()[indices.to(activations.device)].flatten(1) for activations in (first, second)
    )
    return first_rows @ second_rows.T


def _in_blocks(network: Mapping[str, Tensor], blocks: Sequence[Block]) -> dict[str, Tensor]:
    """Returns copies of those tensors that have units, in float64."""
    names = {axis.tensor for block in blocks for axis in block.axes}
    return {name: tensor.cpu().double().clone() for name, tensor in network.items() if name in names}


def _alike(network: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Returns the inner product of two networks' parameters."""
    return sum(float((tensor * other[name]).sum()) for name, tensor in network.items())


def _scores(fixed: Mapping[str, Tensor], moved: Mapping[str, Tensor], block: Block) -> Tensor:
    """Returns what putting each unit of `moved` in the place of each of `fixed` gives, (n, n)."""
    scores = torch.zeros(len(block), len(block), dtype=torch.float64)
    for axis in block.axes:
        if axis.tensor in fixed:
            fixed_rows, moved_rows = (
                network[axis.tensor].movedim(axis.dim, 0)[axis.indices] for network in (fixed, moved)
            )
            scores += fixed_rows.flatten(1) @ moved_rows.flatten(1).T
    return scores
