"""How much does a number depend on which members were drawn? Resampling of the members: jackknife and bootstrap."""

from itertools import combinations
from math import comb

import torch
from torch import Tensor


def draw_subsets(num_members: int, num_taken: int, num_subsets: int, *, generator: torch.Generator) -> Tensor:
    """Returns different subsets of 0 ... `num_members` - 1, each increasing: all if there are no more than `num_subsets`.

    Args:
        num_members: n.
        num_taken: of them in a subset.
        num_subsets: to draw at most, each as likely as any other.
        generator: of the draws, on the CPU.

    Returns:
        int64 (m, `num_taken`).

    Raises:
        ValueError: there are no such subsets.
    """
    if not 1 <= num_taken <= num_members or num_subsets < 1:
        raise ValueError(
            f"expected 1 <= num_taken <= num_members and num_subsets >= 1, found {num_taken}, {num_members}, {num_subsets}"
        )
    if comb(num_members, num_taken) <= num_subsets:
        return torch.tensor(list(combinations(range(num_members), num_taken)))
    drawn: dict[tuple[int, ...], None] = {}  # in the order of the draws
    while len(drawn) < num_subsets:
        drawn[tuple(sorted(torch.randperm(num_members, generator=generator)[:num_taken].tolist()))] = None
    return torch.tensor(list(drawn))


def delete_d_variance(values: Tensor, *, num_members: int, num_taken: int) -> float:
    """Returns the delete-d jackknife's variance, for a statistic of n members, from its `values` (m,) on subsets of n - d.

    (n - d) / d times the mean square deviation of the values from their mean (Shao and Wu 1989; Efron and Tibshirani 1993,
    chapter 11), over all subsets or over m random ones. The factor is 1 for halves. For the mean of independent numbers, and
    over all subsets, it is their s^2 / n exactly.

    Raises:
        ValueError: no values, or subsets that leave nothing out.
    """
    if not len(values) or not 1 <= num_taken < num_members:
        raise ValueError(
            f"expected values of subsets of fewer than {num_members} members, found {len(values)} of {num_taken}"
        )
    deviations = values.double() - values.double().mean()
    return float(num_taken / (num_members - num_taken) * deviations.square().mean())


def resampled_pair_means(matrix: Tensor, num_resamples: int, *, generator: torch.Generator) -> Tensor:
    """Returns the mean over pairs in bootstrap samples of the P members of a symmetric `matrix` (P, P), float64 (B,).

    P members are drawn with replacement. A pair of one member with itself does not count, and a sample of a single distinct
    member, which has no other pairs, is drawn again.

    Raises:
        ValueError: fewer than two members.
    """
    num_members = len(matrix)
    if num_members < 2:
        raise ValueError(f"expected a matrix (P, P) with P >= 2, found {tuple(matrix.shape)}")
    counts = _resampled_counts(num_members, num_resamples, generator)
    with_self = counts.square()  # ordered pairs of a member with itself
    values = matrix.double().cpu()
    totals = ((counts @ values) * counts).sum(dim=1) - with_self @ values.diagonal()
    return totals / (num_members**2 - with_self.sum(dim=1))


def resampled_means_between(
    matrix: Tensor, of_group: Tensor, num_resamples: int, *, generator: torch.Generator
) -> Tensor:
    """Returns the mean over pairs of members of different groups in bootstrap samples of the members, float64 (B,).

    From each group as many members as it has are drawn with replacement.

    Args:
        matrix: symmetric (P, P), a value for each pair.
        of_group: int64 (P,), the group of each member; two groups or more.
        num_resamples: B.
        generator: of the draws, on the CPU.
    """
    counts = torch.zeros(num_resamples, len(matrix), dtype=torch.float64)
    for group in set(of_group.tolist()):
        members = (of_group == group).nonzero().flatten()
        drawn = torch.randint(len(members), (num_resamples, len(members)), generator=generator)
        counts[:, members] = torch.nn.functional.one_hot(drawn, len(members)).sum(dim=1).double()
    is_between = (of_group[:, None] != of_group).cpu()
    values = matrix.double().cpu().where(is_between, 0)
    return ((counts @ values) * counts).sum(dim=1) / is_between.sum()


def _resampled_counts(num_members: int, num_resamples: int, generator: torch.Generator) -> Tensor:
    """Returns how often each member is in each sample, float64 (B, P); none of a single member."""
    accepted = torch.empty(0, num_members, dtype=torch.float64)
    while len(accepted) < num_resamples:
        drawn = torch.randint(num_members, (num_resamples, num_members), generator=generator)
        counts = torch.nn.functional.one_hot(drawn, num_members).sum(dim=1).double()
        accepted = torch.cat([accepted, counts[counts.max(dim=1).values < num_members]])
    return accepted[:num_resamples]
