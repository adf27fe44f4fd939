"""What a sweep and its jobs on other machines share: a folder, and its lock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lmc_lab.errors import UserError


@dataclass(frozen=True)
class SharedFolder:
    """The folder of a sweep.

    Args:
        path: of it.
        is_locked: whether the sweep holds its lock, which its jobs try; false without locks.
        others: further folders in which the sweep tries locks before it starts jobs.
    """

    path: Path
    is_locked: bool
    others: tuple[Path, ...] = ()

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Holds the lock; gives what shows the jobs, when it is called, that the sweep is still there.

        Raises:
            UserError: there are no locks.
        """
        from lmc_lab.locks import HeldLock, check_locks

        if not self.is_locked:
            yield lambda: None
            return
        for folder in {self.path, *self.others}:
            folder.mkdir(parents=True, exist_ok=True)
            check_locks(folder)
        with HeldLock(self.path) as lock:
            yield lock.show

    def why_unusable(self) -> str | None:
        """Returns what is wrong with the folder as a job sees it, None if nothing is."""
        from lmc_lab.locks import check_lock_is_held

        if not self.path.is_dir():
            return (
                f"expected the machine of the job to see {self.path}, found no such folder there; use an output_dir on a disk "
                "that all machines see"
            )
        if self.is_locked:
            try:
                check_lock_is_held(self.path)
            except UserError as error:
                return str(error)
        return None
