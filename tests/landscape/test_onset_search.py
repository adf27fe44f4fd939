"""The search of the onset beside a grid, on outcomes that are made up."""

from itertools import pairwise
from math import sqrt

import pytest

from lmc_lab.landscape.onset_search import bracket_of, first_splits, next_split, num_reversals, width


def searched(holds, num_steps, *, ratio=1.25, known=()):
    """Returns the outcomes at all splits that a search looks at."""
    outcomes = {step: holds(step) for step in first_splits(num_steps, known=known, ratio=ratio)}
    while (step := next_split(outcomes, num_steps, ratio=ratio)) is not None:
        assert step not in outcomes
        outcomes[step] = holds(step)
    return outcomes


def test_the_first_look_is_at_powers_of_four():
    assert first_splits(15_600, ratio=1.25) == [0, 30, 122, 488, 1950, 7800]
    assert first_splits(1500, ratio=1.25) == [0, 3, 12, 47, 188, 750]
    assert first_splits(2, ratio=1.25) == [0, 1]


def test_a_split_that_is_measured_anyway_stands_for_one_near_it():
    known = [0, 400, 2000, 8000]
    assert first_splits(15_600, known=known, ratio=1.25) == [0, 30, 122, 400, 2000, 8000]


@pytest.mark.parametrize("num_steps", [1500, 39_000])
@pytest.mark.parametrize("share", [0.0012, 0.003, 0.02, 0.11, 0.3, 0.49])
def test_it_ends_in_the_bracket_of_a_grid_of_thirty_with_at_most_ten(num_steps, share):
    onset = share * num_steps
    outcomes = searched(lambda step: step >= onset, num_steps)
    found = bracket_of(outcomes)
    assert len(outcomes) <= 10 and found.failed < onset <= found.held and num_reversals(outcomes) == 0
    assert width(outcomes, num_steps) < 1.25 or found.held - max(found.failed, num_steps / 1000) <= 1
    grid = [0, *(round(num_steps / 1000 * 500 ** (i / 28)) for i in range(29))]
    (of_grid,) = [(low, high) for low, high in pairwise(grid) if low < onset <= high]
    assert found.failed < of_grid[1] and of_grid[0] < found.held  # they overlap


def test_where_all_hold_or_none_does_there_is_nothing_to_search():
    always, never = searched(lambda step: True, 1500), searched(lambda step: False, 1500)
    assert len(always) == len(never) == 6
    assert bracket_of(always).held == 0 and bracket_of(never).held is None


def test_before_a_thousandth_of_all_steps_nothing_is_told():
    outcomes = searched(lambda step: step > 0, 1500)
    assert bracket_of(outcomes).failed == 0 and bracket_of(outcomes).held == 2  # 1.5 is a thousandth


def test_what_is_not_monotone_is_counted():
    outcomes = searched(lambda step: step in (3, 12) or step >= 400, 1500)
    assert num_reversals(outcomes) == sum(12 < step < 400 for step in outcomes) > 0
    assert bracket_of(outcomes).failed < 400 <= bracket_of(outcomes).held
    assert num_reversals({0: False, 5: True}) == num_reversals({}.fromkeys([0, 5], False)) == 0


def test_a_middle_is_geometric():
    assert next_split({100: False, 400: True}, 1500, ratio=1.25) == 200
    assert next_split({0: False, 400: True}, 1000, ratio=1.25) == round(sqrt(400))
    assert next_split({3: False, 4: True}, 1500, ratio=1.25) is None
