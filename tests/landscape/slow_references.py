"""The paper's definitions transcribed word by word, however slow, for the tests to compare with."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations

import torch
from torch import Tensor


def dense_hessian(loss: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """The Hessian (D, D), column by column, by central differences of the gradient in float64."""
    step = 1e-5
    columns = []
    for direction in torch.eye(len(theta), dtype=torch.float64):
        up = torch.func.grad(loss)(theta + step * direction)
        down = torch.func.grad(loss)(theta - step * direction)
        columns.append((up - down) / (2 * step))
    return torch.stack(columns, dim=1)


def gap_of_appendix_b(loss: Callable[[Tensor], float], w: Tensor, dw_1: Tensor, dw_2: Tensor) -> float:
    """g = L(1/2 (W + dW_1) + 1/2 (W + dW_2)) - (1/2 L(W + dW_1) + 1/2 L(W + dW_2))."""
    return loss(0.5 * (w + dw_1) + 0.5 * (w + dw_2)) - (0.5 * loss(w + dw_1) + 0.5 * loss(w + dw_2))


def correct_sets(masks: Tensor) -> list[set[int]]:
    """C_i^j of section 4 for one mode j: the numbers of the examples that endpoint i has right."""
    return [{n for n, is_correct in enumerate(mask.tolist()) if is_correct} for mask in masks]


def intersection(sets: Sequence[set[int]]) -> set[int]:
    """S_j = intersection over i of C_i^j, and S* = intersection over j of S_j."""
    return set.intersection(*sets)


def mean_intersection_size(sets: Sequence[set[int]], size: int) -> Fraction:
    """The mean of |intersection| over all choices of `size` of the sets."""
    sizes = [len(intersection(chosen)) for chosen in combinations(sets, size)]
    return Fraction(sum(sizes), len(sizes))


def onset_by_trying(steps: Sequence[int], holds: Sequence[bool]) -> tuple[int | None, int | None]:
    """(last step that fails, first step such that the criterion holds at it and at all later ones)."""
    failed = [k for k, is_held in zip(steps, holds, strict=True) if not is_held]
    held = [k for i, k in enumerate(steps) if all(holds[i:])]
    return (failed[-1] if failed else None, held[0] if held else None)


def algorithm_1(
    loss: Callable[[Tensor], float],
    endpoints: Sequence[Tensor],
    weights: Sequence[Sequence[float]],
    noises: Sequence[Tensor],
) -> tuple[float, float]:
    """(P_conv, P_rand) of Algorithm 1 for given draws of a^j and epsilon^j, in its own order and words."""
    num_conv = num_rand = 0
    for a, epsilon in zip(weights, noises, strict=True):
        w_conv = torch.zeros_like(endpoints[0])
        for a_i, w_i in zip(a, endpoints, strict=True):
            w_conv = w_conv + a_i * w_i
        distances = [torch.linalg.norm(w_conv - w_i).item() for w_i in endpoints]
        w_end = endpoints[distances.index(min(distances))]
        w_rand = w_end + torch.linalg.norm(w_end - w_conv) / torch.linalg.norm(epsilon) * epsilon
        num_conv += loss(w_conv) < loss(w_end)
        num_rand += loss(w_rand) < loss(w_end)
    return num_conv / len(weights), num_rand / len(weights)
