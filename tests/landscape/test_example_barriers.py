import pytest
import torch
from torch import nn

from lmc_lab.landscape.example_barriers import ExampleBarriers, error_norms, rank_groups
from lmc_lab.landscape.lines import midpoint_coefficients, pairs_of


def test_the_barrier_of_a_quadratic_is_minus_an_eighth_of_the_square_of_what_ends_differ_by():
    """Of losses (a x)^2 / 2 the midpoint has less than the mean of both ends by ((a - b) x)^2 / 8."""
    weights, inputs = torch.tensor([1.0, 2.0, 5.0]).double(), torch.tensor([0.5, -1.0, 3.0, 0.0]).double()
    losses = (weights[:, None] * inputs).square() / 2
    middles = (midpoint_coefficients(3) @ weights)[:, None]
    found = ExampleBarriers.of(losses, (middles * inputs).square() / 2)
    known = torch.stack([-((weights[i] - weights[j]) * inputs).square() / 8 for i, j in pairs_of(3)])
    torch.testing.assert_close(found.values, known, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found.by_example, known.mean(dim=0))
    few = torch.tensor([True, False, True, False])
    assert found.mean_over(few).tolist() == pytest.approx([-d * (0.25 + 9) / 2 / 8 for d in (1, 16, 9)])


def test_there_is_a_midpoint_for_each_pair():
    assert pairs_of(3) == [(0, 1), (0, 2), (1, 2)]
    assert midpoint_coefficients(3).tolist() == [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    with pytest.raises(ValueError, match="midpoints of 3 pairs"):
        ExampleBarriers.of(torch.zeros(3, 2), torch.zeros(2, 2))


def test_the_error_norm_is_that_of_the_gradient_of_cross_entropy():
    logits = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    nn.functional.cross_entropy(logits, targets, reduction="sum").backward()
    torch.testing.assert_close(error_norms(logits.detach(), targets), logits.grad.norm(dim=1), rtol=1e-12, atol=0)
    sure = torch.tensor([[1e4, 0.0]])
    assert float(error_norms(sure, torch.tensor([0]))) == 0
    assert float(error_norms(sure, torch.tensor([1]))) == pytest.approx(2**0.5)
    assert error_norms(torch.zeros(1, 4), torch.tensor([0])).item() == pytest.approx(0.75**0.5)  # chance


def test_groups_are_of_ranks_and_of_one_size():
    values = torch.tensor([5.0, -1.0, 3.0, 3.0, 9.0, 0.0])
    assert rank_groups(values, 3).tolist() == [2, 0, 1, 1, 2, 0]
    assert rank_groups(torch.zeros(10), 3).bincount().tolist() == [4, 3, 3]
