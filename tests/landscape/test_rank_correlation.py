from math import inf, isnan

import numpy as np
import pytest
from scipy.stats import spearmanr

from lmc_lab.landscape.rank_correlation import rank_correlation


def test_it_is_that_of_scipy_with_ties_and_without():
    generator = np.random.default_rng(0)
    for x, y in [(generator.normal(size=30), generator.normal(size=30)), generator.integers(4, size=(2, 25))]:
        assert rank_correlation(x, y).value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_a_monotone_relation_is_one_and_so_are_both_ends():
    x = np.arange(12.0)
    found = rank_correlation(x, np.exp(x))
    assert (found.value, found.low, found.high, found.num_pairs) == (1, 1, 1, 12)
    assert rank_correlation(x, -x).value == -1


def test_infinite_values_are_last_and_equal():
    x = np.arange(6.0)
    assert rank_correlation(x, [1, 2, 3, 4, inf, inf]).value == rank_correlation(x, [1, 2, 3, 4, 9, 9]).value


def test_nothing_is_said_of_a_constant_or_of_few_pairs():
    assert isnan(rank_correlation([1, 2, 3, 4], [5, 5, 5, 5]).value)
    assert isnan(rank_correlation([1, 2, 3], [1, 2, 3]).value)
    with pytest.raises(ValueError, match="expected pairs"):
        rank_correlation([1, 2], [1])


def test_pairs_of_a_line_are_drawn_together():
    """Twice the same pairs say no more than once, as long as they are not taken for more."""
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(2, 20))
    once = rank_correlation(x, y + x)
    twice = rank_correlation(np.stack([x, x], 1), np.stack([y + x, y + x], 1))
    assert (twice.value, twice.num_pairs) == (pytest.approx(once.value), 40)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=1e-9)


def test_a_higher_level_has_a_wider_interval():
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(2, 20))
    wide, narrow = (rank_correlation(x, y + x, level=level) for level in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_the_interval_covers_the_correlation_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    covered = []
    for _ in range(60):
        shared, x, y = generator.normal(size=(3, 40))
        found = rank_correlation(shared + x, shared + y)
        covered.append(found.low <= 0.483 <= found.high)  # 6 / pi asin(rho / 2) of a normal pair with rho = 1/2
    assert sum(covered) >= 50
