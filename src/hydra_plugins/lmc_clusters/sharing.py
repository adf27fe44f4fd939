"""What a sweep and its jobs on other machines share: a folder, and its lock."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from lmc_lab.errors import UserError
from lmc_lab.locks import HeldLock, check_lock_is_held, check_locks


class Shown(Protocol):
    """What shows the jobs of a sweep that it is still there."""

    def show(self) -> None:
        """Shows it."""


class _Unlocked:
    def show(self) -> None:
        """Shows nothing: nobody looks."""


@contextmanager
def held(sweep: Path | None) -> Iterator[Shown]:
    """Holds the lock of a sweep's folder, which its jobs try (`missing_lock`); nothing for None.

    Raises:
        UserError: there are no locks.
    """
    if sweep is None:
        yield _Unlocked()
        return
    check_locks(sweep)
    with HeldLock(sweep) as lock:
        yield lock


def missing_lock(sweep: Path | None) -> str | None:
    """Returns what is wrong with locks where a job runs; None if nothing is, or none are used."""
    if sweep is None:
        return None
    try:
        check_lock_is_held(sweep)
    except (UserError, FileNotFoundError) as error:
        return str(error)
    return None


@contextmanager
def ended_after(running: Mapping[int, Any], end: Callable[[Any], object]) -> Iterator[None]:
    """Ends what is left in `running` when the sweep is left."""
    try:
        yield
    finally:
        for job in running.values():
            end(job)
