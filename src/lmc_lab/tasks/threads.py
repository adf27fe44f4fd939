"""The same work on several items in threads: torch lets go of the interpreter's lock while it computes."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def num_cores() -> int:
    """Returns how many cores this process has: what ``OMP_NUM_THREADS`` says, else all that it may run on.

    The launcher sets that variable to a job's share, as joblib's does.
    """
    allowed = len(os.sched_getaffinity(0))
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(int(given), allowed) if given.isdecimal() and int(given) else allowed


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], *, num_threads: int) -> Iterator[Result]:
    """Yields `function` of each item, in the order of the items; few results wait at a time, however many there are.

    Each thread computes on one core, as a process of a sweep does, so that `num_threads` does not change the results.
    """
    if num_threads == 1:
        yield from map(function, items)
        return
    before = torch.get_num_threads()
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # of a caller that wants no more, or after an error
        torch.set_num_threads(before)  # the setting of a thread is in part one of the process
