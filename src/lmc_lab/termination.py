"""SIGTERM, by which schedulers end a job: training ends after its step and saves its state, everything else ends at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM


class _Request:
    """Whether this process was asked to end, and whether what it does now ends by itself."""

    def __init__(self) -> None:
        self.is_made = False
        self.num_waiting = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        is_first, self.is_made = not self.is_made, True
        if is_first and not self.num_waiting:  # the next would come between while the first is being answered
            raise SystemExit(EXIT_CODE)


_request = _Request()


def handle_sigterm() -> None:
    """Makes SIGTERM an exit with 143; must be called in the main thread."""
    _request.is_made = False
    signal.signal(signal.SIGTERM, _request)


def is_requested() -> bool:
    """Returns whether SIGTERM came, for what ends by itself."""
    return _request.is_made


@contextmanager
def after_the_step() -> Iterator[None]:
    """Lets what is inside end by itself after SIGTERM: for training, which Lightning ends between two steps.

    Raises:
        SystemExit: SIGTERM came meanwhile.
    """
    _request.num_waiting += 1
    try:
        yield
    finally:
        _request.num_waiting -= 1
        if _request.is_made:
            raise SystemExit(EXIT_CODE)
