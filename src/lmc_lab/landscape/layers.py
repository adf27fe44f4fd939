"""One layer averaged at a time: layer-wise barriers (Adilova et al. 2024, ICLR; arXiv 2307.06966), beside random moves.

A layer is what parameters of one module are. For endpoints i and j and a layer, the barrier is the mean of the losses of
W_i and of W_j, in each of which this layer alone is the mean of both, less the mean of their own losses. The control moves
this layer of W_i (of W_j) as far in a random direction.

Shapes: P endpoints of D parameters, L layers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.hull import Evaluate, LazyPoints, corners_of, evaluate_lazily
from lmc_lab.landscape.parameters import ParameterLayout


def layers_of(layout: ParameterLayout) -> dict[str, slice]:
    """Returns where each layer is in theta (D,), by the name of its module; the parameters of a module follow each other."""
    layers: dict[str, slice] = {}
    start = 0
    for name, size in zip(layout.names, layout.sizes, strict=True):
        module = name.rpartition(".")[0]
        first = layers[module].start if module in layers else start
        layers[module] = slice(first, start + size)
        start += size
    return layers


def with_layer_averaged(theta: Tensor, other: Tensor, layer: slice) -> Tensor:
    """Returns theta (D,) with the mean of both in one layer."""
    moved = theta.clone()
    moved[layer] = ((theta[layer].double() + other[layer].double()) / 2).to(theta.dtype)
    return moved


def with_layer_moved(theta: Tensor, other: Tensor, layer: slice, *, seed: int) -> Tensor:
    """Returns theta (D,) with one layer moved in a random direction, as far as half of the way to `other`'s."""
    distance = float((other[layer].double() - theta[layer].double()).norm()) / 2
    direction = torch.randn(theta[layer].shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    moved = theta.clone()
    moved[layer] = (theta[layer].double() + (direction * (distance / direction.norm())).to(theta.device)).to(
        theta.dtype
    )
    return moved


@dataclass(frozen=True)
class LayerBarriers:
    """Barriers of each layer for each two endpoints, float64 (L, P, P), symmetric with a zero diagonal."""

    averaged: Tensor
    moved: Tensor  # of the random control


def layer_barriers(evaluate: Evaluate, endpoints: Tensor, layers: Sequence[slice], *, seed: int) -> LayerBarriers:
    """Returns the layer-wise barriers between `endpoints` (P, D).

    Args:
        evaluate: says the loss of points, see `landscape.hull`; buffers are those of the endpoint whose layer is changed.
        endpoints: (P, D).
        layers: where each is in theta.
        seed: of the random directions.

    Raises:
        NotFinite: an endpoint's loss is not finite, or that of another point is NaN.
    """
    num_endpoints = len(endpoints)
    vertices = torch.eye(num_endpoints, dtype=torch.float64)
    pairs = list(permutations(range(num_endpoints), 2))
    generator = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**62, (len(layers), num_endpoints, num_endpoints), generator=generator)

    def changed(change: Callable[[int, int, int], Tensor], layer: int) -> LazyPoints:
        def make(cut: slice) -> tuple[Tensor, Tensor]:
            thetas = [change(first, second, layer) for first, second in pairs[cut]]
            return torch.stack(thetas), vertices[[first for first, _ in pairs[cut]]]

        return LazyPoints(len(pairs), make)

    def averaged(first: int, second: int, layer: int) -> Tensor:
        return with_layer_averaged(endpoints[first], endpoints[second], layers[layer])

    def moved(first: int, second: int, layer: int) -> Tensor:
        return with_layer_moved(
            endpoints[first], endpoints[second], layers[layer], seed=int(seeds[layer, first, second])
        )

    groups = [changed(change, layer) for change in (averaged, moved) for layer in range(len(layers))]
    ends, *by_layer = evaluate_lazily(evaluate, [corners_of(endpoints), *groups])
    check_losses(ends.loss, "endpoint")
    for evaluation in by_layer:
        check_losses(evaluation.loss, "point between", allows_infinity=True)
    excess = torch.zeros(len(by_layer), num_endpoints, num_endpoints, dtype=torch.float64)
    first, second = torch.tensor(pairs).T
    excess[:, first, second] = torch.stack([evaluation.loss for evaluation in by_layer]) - ends.loss[first]
    barriers = (excess + excess.mT) / 2
    return LayerBarriers(barriers[: len(layers)], barriers[len(layers) :])
