from itertools import islice

import pytest
import torch

from lmc_lab.data.examples import Examples
from lmc_lab.data.order import DataOrder, Role, StepBatches, branch_order, trunk_order

PINNED = {"trunk": [11, 92, 3, 20, 13], "branch": [38, 6, 2, 60, 34], "noise": 7432190470832128292}


def epoch_of(order, epoch):
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    return torch.cat([order.indices(step) for step in steps])


def test_an_epoch_shows_every_example_once_and_drops_the_incomplete_batch():
    order = trunk_order(0, 1003, 10)
    assert order.steps_per_epoch == 100
    assert len(set(epoch_of(order, 3).tolist())) == 1000


def test_no_two_seeds_epochs_roles_or_trunks_share_a_batch_order():
    orders = [trunk_order(trunk, 64, 8) for trunk in range(2)]
    orders += [branch_order(trunk, seed, 64, 8) for trunk in range(2) for seed in range(32)]
    seen = {tuple(epoch_of(order, epoch).tolist()) for order in orders for epoch in range(32)}
    assert len(seen) == len(orders) * 32


def test_orders_are_pinned():
    """Changing them would silently mix old and new endpoints in a mode."""
    assert trunk_order(0, 100, 5).indices(0).tolist() == PINNED["trunk"]
    assert branch_order(0, 1, 100, 5).indices(21).tolist() == PINNED["branch"]
    assert branch_order(0, 1, 100, 5).noise_seed(21) == PINNED["noise"]


def test_batches_begin_anywhere_and_are_those_of_the_order():
    examples = Examples(torch.arange(100), torch.arange(100), lambda x: x)
    order = branch_order(1, 2, 100, 8)
    found = [targets.tolist() for _, targets in islice(StepBatches(examples, order, 17), 30)]
    assert found == [order.indices(step).tolist() for step in range(17, 47)]


def test_noise_seeds_differ_between_steps_seeds_and_roles():
    orders = [DataOrder(role, trunk, seed, 100, 10) for role in Role for trunk in range(2) for seed in range(4)]
    assert len({order.noise_seed(step) for order in orders for step in range(50)}) == 50 * len(orders)


@pytest.mark.parametrize("epoch", [0, 7])
def test_the_order_is_uniform(epoch):
    """The first place of an epoch is every example equally often (chi-square over many seeds)."""
    counts = torch.zeros(10)
    for seed in range(2000):
        counts[branch_order(0, seed, 10, 1).indices(epoch * 10)] += 1
    assert ((counts - 200).square() / 200).sum() < 27.9  # 0.1 % point of chi-square with 9 degrees of freedom
