"""Locks between processes, by which one at a time computes a thing; a file system of a cluster may have none."""

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

from lmc_lab.errors import UserError

_IS_HELD = 3
_ASK = f"""
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit({_IS_HELD})
"""


class _Setting:
    are_used = True


def use_locks(are_used: bool) -> None:
    """Sets whether this process takes locks; without them, whoever starts jobs sees to it that no two do the same."""
    _Setting.are_used = are_used


def are_used() -> bool:
    """Returns whether this process takes locks."""
    return _Setting.are_used


@contextmanager
def locked(path: Path, *, timeout: float = -1) -> Iterator[None]:
    """Holds the lock of a file; waits for it, but no longer than `timeout` seconds if that is not negative.

    Raises:
        filelock.Timeout: another process holds it still.
    """
    if not _Setting.are_used:
        yield
        return
    from filelock import FileLock  # here: who answers --help does without it

    with FileLock(path, timeout=timeout):
        yield


def check_locks(folder: Path) -> None:
    """Has a second process try to take a lock in a folder while this one holds it.

    Raises:
        UserError: it gets it, or there are no locks.
    """
    with NamedTemporaryFile(dir=folder, prefix=".lock-check-") as file:
        _is_held(file, folder)
        second = subprocess.run(
            [sys.executable, "-S", "-c", _ASK, file.name], capture_output=True, text=True, check=False
        )
    if second.returncode != _IS_HELD:
        found = second.stderr.strip().splitlines()[-1:] or ["that two processes had the same one"]
        raise _no_locks(folder, found[0])


def _is_held(file: IO[Any], folder: Path) -> bool:
    """Tries to take the lock of an open file; returns whether another process holds it.

    Raises:
        UserError: the folder's file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise _no_locks(folder, f"none ({os.strerror(error.errno or 0)})") from error
    return False


def _no_locks(folder: Path, found: str) -> UserError:
    return UserError(
        f"expected a file system with locks at {folder}, found {found}; use another output_dir, or locks=false, with which "
        "no two jobs may do the same: train the trunks first"
    )


class HeldLock:
    """The lock of a sweep, which its jobs try from other machines.

    Args:
        folder: of the sweep, which all machines see.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME

    def __enter__(self) -> "HeldLock":
        """Takes the lock."""
        self._file = self._path.open("a+")
        # Another sweep of the same second may hold it, too; a job wants it alone.
        fcntl.flock(self._file, fcntl.LOCK_SH)
        return self

    def show(self) -> None:
        """Shows that the sweep is still there, by the time of its file."""
        with suppress(OSError):  # no reason to end a sweep of hours
            os.utime(self._path)

    def __exit__(self, *exception: object) -> None:
        """Gives it back."""
        self._file.close()


_NAME = ".sweep.lock"
_SECONDS_SINCE_SHOWN = 60.0


def check_lock_is_held(folder: Path) -> None:
    """Tries to take the lock that a sweep holds, perhaps on another machine.

    Raises:
        UserError: it can be taken, although the sweep is there: locks do not reach from one machine to the other.
    """
    path = folder / _NAME
    with path.open("r+") as file:  # a file system of a network gives no lock of a file that is only read
        if _is_held(file, folder):
            return
    # A file's time is the server's, whatever the clock here says.
    now = folder / f".now-{socket.gethostname()}-{os.getpid()}"
    now.touch()
    age = now.stat().st_mtime - path.stat().st_mtime
    now.unlink()
    if age < _SECONDS_SINCE_SHOWN:
        raise _no_locks(folder, "locks that other machines do not see")
