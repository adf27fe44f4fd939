import pytest
import torch

from lmc_lab.landscape.statistics import Probability, wilson_interval


def test_wilson_interval_agrees_with_published_values():
    # Newcombe 1998, table I: 81/263, 15/148, 0/20, 1/29 at 95 %.
    for counts, expected in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        assert wilson_interval(*counts) == pytest.approx(expected, abs=5e-5)


def test_wilson_interval_is_symmetric_and_stays_in_the_unit_interval():
    assert wilson_interval(20, 20)[1] == 1.0
    low, high = wilson_interval(3, 20)
    assert wilson_interval(17, 20) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("counts", [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="expected 0 <= num_successes"):
        wilson_interval(*counts)


def test_a_probability_is_a_share_with_its_interval():
    found = Probability.of(torch.arange(29) == 7)
    assert (found.value, found.num_samples) == (1 / 29, 29)
    assert (found.low, found.high) == wilson_interval(1, 29)
    assert str(found) == "0.03 [0.01, 0.17]"  # 1/29 of Newcombe's table
