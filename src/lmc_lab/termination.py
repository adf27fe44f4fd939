"""Signals by which schedulers end a job: training ends after its step and saves its state, everything else ends at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM


class _Request:
    """By which signals this process was asked to end, and whether what it does now ends by itself."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.num_waiting = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)
        if len(self.signals) > 1:  # the first is being answered, and an exit here would cut that short
            return
        if not self.num_waiting:
            raise SystemExit(EXIT_CODE)
        if number != signal.SIGTERM:
            signal.raise_signal(signal.SIGTERM)  # the one by which Lightning ends training


_request = _Request()


def handle_sigterm(*others: int) -> None:
    """Makes SIGTERM, and other signals that are named, an exit with 143; must be called in the main thread."""
    _request.signals = []
    for number in (signal.SIGTERM, *others):
        signal.signal(number, _request)


def is_requested() -> bool:
    """Returns whether such a signal came, for what ends by itself."""
    return bool(_request.signals)


def is_requested_by(number: int) -> bool:
    """Returns whether this signal came, first or later."""
    return number in _request.signals


def end_if_requested() -> None:
    """Ends this process if such a signal came and its exit was lost: torch clears all that is raised while it imports NumPy.

    Raises:
        SystemExit: one came.
    """
    if is_requested():
        raise SystemExit(EXIT_CODE)


@contextmanager
def after_the_step() -> Iterator[None]:
    """Lets what is inside end by itself after such a signal: for training, which Lightning ends between two steps.

    Raises:
        SystemExit: one came, meanwhile or before.
    """
    end_if_requested()
    _request.num_waiting += 1
    try:
        yield
    finally:
        _request.num_waiting -= 1
        end_if_requested()
