"""One function on many items in several threads, which run in parallel since torch releases the interpreter's lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], *, num_threads: int) -> Iterator[Result]:
    """Yields `function` of each item, in the order of the items; at most 2 `num_threads` + 1 results are held at a time.

    In each thread torch computes on one core, as it does everywhere here, so that `num_threads` does not change the results.
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
        torch.set_num_threads(before)  # what a thread sets holds in part for the whole process
