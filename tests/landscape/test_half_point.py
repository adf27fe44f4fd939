"""The logistic fit beside one by scipy's general optimiser, its interval beside a grid, and brackets where there is no fit."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import chi2

from lmc_lab.landscape.half_point import half_point

NUMBERS = {0.01: 0, 0.03: 1, 0.1: 3, 0.3: 7, 1.0: 9}  # of 10 trials each


def trials(numbers, each=10):
    sizes = torch.tensor([size for size in numbers for _ in range(each)])
    happened = torch.tensor([i < number for number in numbers.values() for i in range(each)])
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(0))
    return sizes[order], happened[order]


def loss(intercept, slope, x, y):
    logits = intercept + slope * x
    return np.logaddexp(0, logits).sum() - (y * logits).sum()


def test_the_fit_is_that_of_a_general_optimiser():
    sizes, happened = trials(NUMBERS)
    x, y = np.log(sizes.double().numpy()), happened.numpy()
    twin = minimize(lambda parts: loss(*parts, x, y), [0.0, 1.0], method="Nelder-Mead", tol=1e-12)
    found = half_point(sizes, happened)
    assert found.slope == pytest.approx(twin.x[1], rel=1e-5)
    assert math.log(found.value) == pytest.approx(-twin.x[0] / twin.x[1], rel=1e-5)
    probability = 1 / (1 + math.exp(-(twin.x[0] + twin.x[1] * math.log(found.value))))
    assert probability == pytest.approx(0.5, abs=1e-5)  # of the probability, not of the logit


def test_the_interval_is_that_of_the_profile_likelihood():
    sizes, happened = trials(NUMBERS)
    x, y = np.log(sizes.double().numpy()), happened.numpy()

    def profile(c):
        options = {"bounds": (0, 100), "method": "bounded", "options": {"xatol": 1e-10}}
        return minimize_scalar(lambda b: loss(-b * c, b, x, y), **options).fun

    found = half_point(sizes, happened)
    limit = profile(math.log(found.value)) + chi2.ppf(0.95, 1) / 2
    for end in (found.low, found.high):
        assert profile(math.log(end)) == pytest.approx(limit, abs=1e-6)
    assert found.low < found.value < found.high


def test_the_half_point_moves_with_the_unit_of_sizes_alone():
    sizes, happened = trials(NUMBERS)
    found, other = half_point(sizes, happened), half_point(1000 * sizes.double(), happened)
    assert other.value == pytest.approx(1000 * found.value) and other.high == pytest.approx(1000 * found.high)
    assert other.slope == pytest.approx(found.slope)


def test_the_interval_covers_the_half_point():
    generator, inside = torch.Generator().manual_seed(1), 0
    sizes = torch.tensor(list(NUMBERS)).repeat_interleave(20)
    probabilities = torch.sigmoid(2 * (sizes.log() - math.log(0.1)))
    for _ in range(100):
        found = half_point(sizes, torch.rand(len(sizes), generator=generator) < probabilities)
        inside += found.low < 0.1 < found.high
    assert 90 <= inside <= 99


def test_what_too_few_trials_leave_open_has_no_end():
    found = half_point(torch.tensor([1.0, 2.0, 1.0, 2.0]), torch.tensor([False, True, True, True]))
    assert found.low is None and found.slope is None  # one size with both
    sizes, happened = trials({1.0: 1, 2.0: 2}, each=4)
    found = half_point(sizes, happened)
    assert found.value == pytest.approx(2.0) and (found.low, found.high) == (None, None) and found.slope > 0


@pytest.mark.parametrize(
    ("numbers", "value", "low", "high"),
    [
        ({0.01: 0, 0.1: 0, 1.0: 4}, 0.1**0.5 * 1.0, 0.1, 1.0),
        ({0.01: 0, 0.1: 3, 1.0: 4}, 0.1, 0.01, 1.0),
        ({0.01: 1, 0.1: 4}, 0.01, None, 0.1),
        ({0.01: 0, 0.1: 3}, 0.1, 0.01, None),
        ({0.01: 0, 0.1: 0}, math.inf, 0.1, None),
        ({0.01: 4, 0.1: 4}, 0.01, None, 0.01),
    ],
)
def test_perfect_separation_gives_the_bracket(numbers, value, low, high):
    found = half_point(*trials(numbers, each=4))
    expected = [None if each is None else pytest.approx(each) for each in (value, low, high)]
    assert [found.value, found.low, found.high, found.slope] == [*expected, None]


@pytest.mark.parametrize("numbers", [{0.01: 4, 0.1: 0}, {0.01: 3, 0.1: 1}, {0.1: 2}, {0.01: 2, 0.1: 2}])
def test_what_does_not_grow_with_the_size_has_no_half_point(numbers):
    assert half_point(*trials(numbers, each=4)) is None
