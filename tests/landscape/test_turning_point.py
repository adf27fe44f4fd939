from math import e, exp, inf, isnan, log, nan

import pytest

from lmc_lab.landscape.turning_point import half_life, turning_point


def test_of_a_measure_that_rises_it_is_where_it_has_gone_that_share_of_its_way():
    steps = [0, e - 1, e**2 - 1, e**3 - 1]  # log(1 + t) is 0, 1, 2, 3
    for values in ([0, 1, 3, 4], [4, 3, 1, 0], [10, 11, 13, 14]):
        assert turning_point(steps, values, 0.5) == pytest.approx(exp(1.5) - 1, abs=1e-12)
        assert turning_point(steps, values, 0.25) == pytest.approx(e - 1, abs=1e-12)
        assert turning_point(steps, values, 0.125) == pytest.approx(exp(0.5) - 1, abs=1e-12)


def test_there_and_back_count_both():
    assert turning_point([1, 2, 3, 4, 5], [0, 1, 0, 0, 0], 0.5) == pytest.approx(2)
    assert turning_point([1, 2, 3, 4, 5], [0, 1, 0, 1, 0], 0.75) == pytest.approx(4)


def test_it_does_not_depend_on_units_or_on_what_is_missing():
    steps, values = [0, 10, 100, 1000], [0.3, 0.2, 0.6, 0.1]
    found = turning_point(steps, values, 0.5)
    assert turning_point(steps, [-7 * value + 3 for value in values], 0.5) == pytest.approx(found, rel=1e-12)
    assert turning_point([0, 5, 10, 100, 1000], [0.3, nan, 0.2, 0.6, 0.1], 0.5) == pytest.approx(found, rel=1e-12)


def test_nothing_turns_where_nothing_changes_or_little_is_known():
    assert isnan(turning_point([0, 1, 2], [5, 5, 5], 0.5))
    assert isnan(turning_point([0, 1, 2], [5, 4, inf], 0.5))
    with pytest.raises(ValueError, match="steps that rise"):
        turning_point([0, 2, 1], [5, 4, 3], 0.5)
    with pytest.raises(ValueError, match="share"):
        turning_point([0, 1, 2], [5, 4, 3], 1)


def test_half_of_the_first_value():
    assert half_life([1, 3, 7], [8, 4, 1]) == pytest.approx(3)
    between = exp((log(2) + log(4)) / 2) - 1
    assert half_life([1, 3, 7], [8, 0, 9]) == pytest.approx(between, abs=1e-12)
    assert half_life([1, 3, 7], [8, 7, 5]) == inf
    assert isnan(half_life([1, 3], [0, 0])) and isnan(half_life([], []))
