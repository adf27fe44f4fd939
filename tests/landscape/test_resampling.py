from itertools import combinations, product
from math import comb

import pytest
import torch
from torch import Tensor

from lmc_lab.landscape.resampling import (
    delete_d_variance,
    draw_subsets,
    resampled_means_between,
    resampled_pair_means,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def means(values: Tensor, num_taken: int) -> Tensor:
    return torch.stack([values[list(own)].mean() for own in combinations(range(len(values)), num_taken)])


@pytest.mark.parametrize(("num_members", "num_taken"), [(8, 4), (9, 4), (7, 2), (6, 5)])
def test_of_a_mean_and_all_subsets_the_variance_is_s2_over_n(num_members: int, num_taken: int) -> None:
    values = normal(num_members) + 3
    found = delete_d_variance(means(values, num_taken), num_members=num_members, num_taken=num_taken)
    assert found == pytest.approx(float(values.var()) / num_members, rel=1e-12)


def test_leaving_out_one_is_tukeys_jackknife() -> None:
    values = normal(9).exp()
    left_out = torch.stack([values[torch.arange(9) != i].log().mean().exp() for i in range(9)])
    tukeys = 8 / 9 * (left_out - left_out.mean()).square().sum()
    assert delete_d_variance(left_out, num_members=9, num_taken=8) == pytest.approx(float(tukeys))


def test_for_a_mean_over_pairs_halves_err_on_the_wide_side_only() -> None:
    """A product of two members has no part that is a sum over them: its spread is larger than the variance of its mean."""
    trials, estimates, averages = 400, [], []
    pairs = list(combinations(range(4), 2))
    for values in normal(trials, 4):
        of_pairs = torch.stack([values[i] * values[j] for i, j in pairs])
        estimates.append(delete_d_variance(of_pairs, num_members=4, num_taken=2))
        averages.append(float(of_pairs.mean()))
    assert sum(estimates) / trials > 2 * float(torch.tensor(averages).var())  # 5 / 6 against 1 / 6


def test_subsets_are_all_or_different_ones() -> None:
    every = draw_subsets(6, 3, 20, generator=generator())
    assert every.tolist() == [list(own) for own in combinations(range(6), 3)]
    drawn = draw_subsets(10, 5, 40, generator=generator()).tolist()
    assert len({tuple(own) for own in drawn}) == 40 and all(own == sorted(set(own)) for own in drawn)
    assert drawn == draw_subsets(10, 5, 40, generator=generator()).tolist()
    assert drawn != draw_subsets(10, 5, 40, generator=generator(1)).tolist()
    almost_all = draw_subsets(6, 3, comb(6, 3) - 1, generator=generator())
    assert len({tuple(own) for own in almost_all.tolist()}) == 19


def test_a_resampled_pair_mean_is_that_over_pairs_of_distinct_members() -> None:
    points = normal(4, 3)
    matrix = torch.cdist(points, points) + torch.eye(4, dtype=torch.float64) * 100  # no pair is of one member
    found = resampled_pair_means(matrix, 5000, generator=generator())
    possible = set()
    for drawn in torch.cartesian_prod(*[torch.arange(4)] * 4).tolist():
        values = [float(matrix[i, j]) for i in drawn for j in drawn if i != j]
        if values:
            possible.add(round(sum(values) / len(values), 9))
    assert len(found) == 5000 and {round(value, 9) for value in found.tolist()} == possible


def test_a_resampled_mean_between_groups_draws_from_each() -> None:
    of_group = torch.tensor([0, 1, 0, 1, 1])
    matrix = torch.cdist(normal(5, 3), normal(5, 3))
    matrix = matrix + matrix.T
    found = resampled_means_between(matrix, of_group, 20000, generator=generator())
    possible = {
        round(sum(float(matrix[i, j]) for i in ones for j in others) / 6, 9)
        for ones in product([0, 2], repeat=2)
        for others in product([1, 3, 4], repeat=3)
    }
    assert {round(value, 9) for value in found.tolist()} == possible
    between = matrix[of_group[:, None] != of_group]
    assert float(found.mean()) == pytest.approx(float(between.mean()), rel=0.01)


def test_what_cannot_be_resampled_is_refused() -> None:
    for num_members, num_taken, num_subsets in ((3, 4, 5), (3, 0, 5), (3, 2, 0)):
        with pytest.raises(ValueError, match="num_taken <= num_members"):
            draw_subsets(num_members, num_taken, num_subsets, generator=generator())
    for values, num_taken in ((torch.zeros(0), 2), (torch.zeros(4), 4)):
        with pytest.raises(ValueError, match="fewer than 4 members"):
            delete_d_variance(values, num_members=4, num_taken=num_taken)
    with pytest.raises(ValueError, match="P >= 2"):
        resampled_pair_means(torch.zeros(1, 1), 3, generator=generator())
