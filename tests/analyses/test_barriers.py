"""Rows of barriers: their intervals are over endpoints, which lines share."""

from types import SimpleNamespace

import pytest
import torch

from lmc_lab.analyses.barriers import barriers_between, heights_to_ends
from lmc_lab.analyses.estimates import bootstrap_mean, bootstrap_mean_between


def lines_of(barriers):
    return [SimpleNamespace(levels={"loss": SimpleNamespace(barrier=barrier)}) for barrier in barriers]


def test_barriers_from_several_hubs_are_one_value_for_each_endpoint():
    of_end = {0: 0.1, 1: 0.2, 2: 0.6, 3: 0.3}
    spokes = [(hub, end) for hub in (0, 1) for end in of_end]
    lines = lines_of(of_end[end] + hub / 10 for hub, end in spokes)
    mean, largest = heights_to_ends("star", lines, spokes, "train")
    of_each = torch.tensor(list(of_end.values()), dtype=torch.float64) + 0.05
    expected = bootstrap_mean("star_loss", of_each, subset="train")
    assert (mean.value, mean.low, mean.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert (mean.quantity, mean.subset, mean.num_samples) == ("star_loss", "train", 4)
    assert (largest.quantity, largest.value) == ("max_star_loss", pytest.approx(0.7))


def test_barriers_between_modes_rest_on_their_endpoints():
    """Pairs share endpoints: where these alone make barriers, taking pairs for independent would be far too sure."""
    of_mode = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    part = torch.tensor([0.1, 0.2, 0.6, 7.0, 0.3, 0.5, 0.2, 7.0], dtype=torch.float64)  # the last of a mode has no line
    pairs = [(one, other) for one in (0, 1, 2) for other in (4, 5, 6)]
    barriers = torch.tensor([float(part[one] + part[other]) for one, other in pairs], dtype=torch.float64)
    mean, largest = barriers_between("pair", lines_of(barriers.tolist()), pairs, of_mode, "train")
    measured = part[[0, 1, 2, 4, 5, 6]]
    matrix = measured[:, None] + measured
    assert mean == bootstrap_mean_between("pair_loss", matrix, torch.tensor([0, 0, 0, 1, 1, 1]), subset="train")
    assert mean.value == pytest.approx(float(barriers.mean())) and mean.num_samples == 6
    assert largest.value == pytest.approx(1.1)
    of_independent = bootstrap_mean("pair_loss", barriers, subset="train")
    assert mean.high - mean.low > 1.3 * (of_independent.high - of_independent.low)


def test_too_few_endpoints_have_no_interval():
    of_mode = torch.tensor([0, 0, 1, 1])
    pairs = [(0, 2), (0, 3), (1, 2), (1, 3)]
    mean, _ = barriers_between("pair", lines_of([0.0, 1.0, 2.0, 3.0]), pairs, of_mode, "test")
    assert (mean.value, mean.low, mean.high, mean.subset) == (1.5, None, None, "test")
