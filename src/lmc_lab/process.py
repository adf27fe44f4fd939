"""What a process does otherwise than Python and the C library would: it looks less for garbage and keeps its memory."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # that glibc takes
_LARGEST_INT = 2**31 - 1


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Imports what is imported in this context without a garbage collection, now or ever after.

    Torch and Lightning make half a million objects of which none is garbage. To look for some takes a fifth of the time
    of importing them, and as long again when the process ends.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def keep_freed_memory() -> None:
    """Lets the C library keep memory that is freed, for the next to ask for some.

    By itself glibc gives the activations of a training step back to the system and asks for them again a step later:
    1,100 page faults and a tenth of the time of a step of LeNet. Blocks of more than 32 MB still come and go. Other C
    libraries have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_TRIM_THRESHOLD, _LARGEST_INT)
