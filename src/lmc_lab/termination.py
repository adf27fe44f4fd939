"""Signals by which schedulers end a job: training ends after its step and saves its state, everything else ends at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM


class _Request:
    """Whether this process was asked to end, by which signal first, and whether what it does now ends by itself."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.num_waiting = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:  # it would come between while the first is being answered
            return
        self.signal = number
        if not self.num_waiting:
            raise SystemExit(EXIT_CODE)


_request = _Request()


def handle_sigterm(*others: int) -> None:
    """Makes SIGTERM, and other signals that are named, an exit with 143; must be called in the main thread."""
    _request.signal = None
    for number in (signal.SIGTERM, *others):
        signal.signal(number, _request)


def is_requested() -> bool:
    """Returns whether such a signal came, for what ends by itself."""
    return _request.signal is not None


def requested_by() -> int | None:
    """Returns the signal that came first, None if none did."""
    return _request.signal


@contextmanager
def after_the_step() -> Iterator[None]:
    """Lets what is inside end by itself after such a signal: for training, which Lightning ends between two steps.

    Raises:
        SystemExit: one came meanwhile.
    """
    _request.num_waiting += 1
    try:
        yield
    finally:
        _request.num_waiting -= 1
        if is_requested():
            raise SystemExit(EXIT_CODE)
