from itertools import product
from math import isnan, nan

import pytest
import torch

from landscape.slow_references import onset_by_trying
from lmc_lab.landscape.connectivity import LineProfile, line_coefficients
from lmc_lab.landscape.onset import OnsetBracket, onset


def profile(values: list[float]) -> LineProfile:
    return LineProfile(line_coefficients(len(values))[:, 1], torch.tensor(values, dtype=torch.float64))


def test_line_weights_are_in_the_simplex() -> None:
    weights = line_coefficients(30)
    assert torch.equal(weights.sum(dim=1), torch.ones(30, dtype=torch.float64))
    assert weights[0].tolist() == [1, 0]
    assert weights[-1].tolist() == [0, 1]
    with pytest.raises(ValueError, match="at least 3"):
        line_coefficients(2)


def test_barrier_is_above_the_chord_and_instability_above_the_mean() -> None:
    line = profile([1.0, 2.0, 4.0, 3.0, 3.0])
    assert line.barrier == 4.0 - 2.0
    assert line.instability == 4.0 - 2.0
    tilted = profile([0.0, 3.0, 2.0, 2.0, 4.0])
    assert tilted.barrier == 3.0 - 1.0
    assert tilted.instability == 4.0 - 2.0  # the higher end


def test_a_rise_is_above_the_second_end_whatever_the_chord_does() -> None:
    falling = profile([4.0, 3.0, 2.0, 1.0, 0.5])
    assert falling.barrier == 0 and falling.rise == 4.0 - 0.5
    assert profile([0.0, 3.0, 1.0]).rise == 3.0 - 1.0
    assert profile([0.1, 0.2, 0.7]).rise == 0


def test_none_is_negative() -> None:
    for values in ([1.0, 0.2, 0.1, 0.3, 1.0], [0.3, 0.1, 0.7], [0.1] * 9):
        line = profile(values)
        assert line.barrier == 0
        assert line.instability >= 0
        assert line.rise >= 0
    assert profile([0.3, 0.1, 0.7]).instability == pytest.approx(0.2)


def test_a_barrier_of_nan_is_nan() -> None:
    line = profile([0.1, nan, 0.1])
    assert isnan(line.barrier)
    assert isnan(line.instability)
    assert isnan(line.rise)


def test_a_profile_without_its_ends_is_refused() -> None:
    with pytest.raises(ValueError, match="fractions from 0 to 1"):
        LineProfile(torch.tensor([0.0, 0.5]), torch.zeros(2))
    with pytest.raises(ValueError, match="shapes"):
        LineProfile(torch.tensor([0.0, 1.0]), torch.zeros(3))


def test_onset_is_bracketed() -> None:
    steps = [0, 50, 200, 500, 1000]
    assert onset(steps, [0.0, 0.1, 0.7, 1.0, 1.0], threshold=0.9) == OnsetBracket(failed=200, held=500)
    assert onset(steps, [0.0, 1.0, 0.7, 0.9, 0.9], threshold=0.9) == OnsetBracket(
        failed=200, held=500
    )  # it did not last
    assert onset(steps, [0.9] * 5, threshold=0.9) == OnsetBracket(failed=None, held=0)
    assert onset(steps, [1.0, 1.0, 1.0, 1.0, 0.89], threshold=0.9) == OnsetBracket(failed=1000, held=None)
    assert onset(steps, [1.0, 1.0, nan, 1.0, 1.0], threshold=0.9) == OnsetBracket(failed=200, held=500)
    assert onset(steps, [0.3, 0.02, 0.01, 0, 0], threshold=0.02, at_least=False) == OnsetBracket(failed=50, held=200)


def test_onset_agrees_with_trying_all_steps() -> None:
    steps = [0, 1, 5, 9]
    for holds in product([False, True], repeat=4):
        found = onset(steps, [float(is_held) for is_held in holds], threshold=0.5)
        assert (found.failed, found.held) == onset_by_trying(steps, holds)


def test_onset_wants_increasing_steps() -> None:
    for steps, values in (([], []), ([1, 0], [1.0, 1.0]), ([1, 1], [1.0, 1.0]), ([1, 2], [1.0])):
        with pytest.raises(ValueError, match="increasing steps"):
            onset(steps, values, threshold=0.9)
