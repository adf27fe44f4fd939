"""Settings of the whole process: garbage collection, memory, cores, and when it ends."""

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # that glibc takes
_LARGEST_INT = 2**31 - 1
_LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # torch's own switch


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Imports what is imported in this context without a garbage collection, now or ever after.

    Of what torch and Lightning make hardly anything is garbage. To look for it took 0.6 of 3.2 s of importing them, and
    0.7 s again at the end of the process.
    """
    num_modules, was_enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > num_modules:  # else it would keep what an earlier job of this process has left
            gc.freeze()
        if was_enabled:
            gc.enable()


def keep_freed_memory() -> None:
    """Lets the C library keep memory that is freed, for the next to ask for some.

    By itself glibc gives the activations of a training step back to the system and asks for them again a step later:
    1,100 page faults and a tenth of the time of a step of LeNet. Blocks of more than 32 MB still come and go; smaller
    ones stay with the process. Where the C library has no `mallopt`, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_TRIM_THRESHOLD, _LARGEST_INT)


def keep_large_pages() -> None:
    """Lets the C library keep freed memory, and torch take blocks of 2 MB and more in pages of that size.

    Both together save a twentieth of an evaluation of LeNets; large pages that come and go would cost a tenth, and to
    training they make no difference. It must be called before this process makes its first tensor.
    """
    keep_freed_memory()
    with heavy_imports():
        import torch

    if _LARGE_PAGES not in os.environ:
        os.environ[_LARGE_PAGES] = "1"
        torch.empty(1)  # torch reads it now, once and for all
        del os.environ[_LARGE_PAGES]  # not for the processes that this one starts


def end_after(wait: Callable[[], None]) -> None:
    """Ends this process at once, whatever it does, when `wait` returns, which is called in a thread of its own."""

    def watch() -> None:
        wait()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def num_allowed_cores() -> int:
    """Returns how many cores the system lets this process run on."""
    return len(os.sched_getaffinity(0))


_share: int | None = None


def take_cores(number: int) -> None:
    """Makes `number` what `num_cores` returns from now on: the share of a process that is one of several."""
    global _share
    _share = number


def num_cores() -> int:
    """Returns how many cores this process is to use: its share, what ``OMP_NUM_THREADS`` says, or all that are allowed."""
    if _share is not None:
        return _share
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    allowed = num_allowed_cores()
    return min(int(given), allowed) if given.isdecimal() and int(given) else allowed
