import threading
import time

import pytest
import torch

from lmc_lab.tasks.threads import map_in_order


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(num_threads):
    def slow_if_even(item):
        time.sleep(0.01 * (item % 2 == 0))
        return item * item

    assert list(map_in_order(slow_if_even, range(23), num_threads=num_threads)) == [i * i for i in range(23)]


def test_items_are_computed_at_the_same_time():
    both = threading.Barrier(2, timeout=20)
    assert len(list(map_in_order(lambda item: both.wait(), range(4), num_threads=2))) == 4


def test_few_results_wait():
    started = []
    results = map_in_order(started.append, range(1000), num_threads=2)
    next(results)
    time.sleep(0.05)
    assert len(started) <= 6


def test_an_error_reaches_the_caller_and_threads_are_as_before():
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            list(map_in_order(lambda item: 1 // item, [1, 0, 1], num_threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_each_thread_computes_on_one_core():
    torch.set_num_threads(2)  # which new threads would have, too
    try:
        assert set(map_in_order(lambda item: torch.get_num_threads(), range(6), num_threads=3)) == {1}
    finally:
        torch.set_num_threads(1)


def test_what_nobody_waits_for_is_not_computed():
    def wait(item):
        started.append(item)
        if item:
            go_on.wait(timeout=20)

    started, go_on = [], threading.Event()
    results = map_in_order(wait, range(100), num_threads=2)
    next(results)
    threading.Timer(0.2, go_on.set).start()
    results.close()
    assert len(started) <= 3
