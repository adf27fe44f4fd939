"""The processes of a sweep: forked from one that has all imports, one for each job, gone when the sweep is."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from pkgutil import iter_modules
from typing import Any, Protocol

from lmc_lab import preload, termination
from lmc_lab.process import num_cores

log = logging.getLogger(__name__)

_SECONDS_TO_END = 15  # that a job has to save its state when the sweep is ended


class Job(Protocol):
    """What a worker runs."""

    @property
    def index(self) -> int:
        """Returns its place in the sweep."""

    @property
    def overrides(self) -> list[str]:
        """Returns what tells it from the others."""

    def __call__(self) -> str | None:
        """Runs it; returns None, or what went wrong."""


def run_jobs(jobs: Sequence[Job], *, num_workers: int, context: BaseContext) -> dict[str, str]:
    """Runs `jobs` in worker processes of `context`; returns the overrides of those that failed, with the reasons."""
    import cloudpickle
    from pebble import CONSTS, ProcessPool

    CONSTS.sleep_unit = 0.01  # seconds until the pool sees that a job has ended
    CONSTS.term_timeout = _SECONDS_TO_END
    share = max(1, num_cores() // min(num_workers, len(jobs)))
    names = _names(jobs)
    failures: dict[str, str] = {}
    # One job a process: what a job leaves behind (threads, generators, memory) is gone with it.
    with (
        _forkserver_ended_on_interrupt(),  # after the pool, which would start another
        ProcessPool(num_workers, max_tasks=1, context=context, initializer=_begin, initargs=(share,)) as pool,
        _stopped_on_interrupt(pool),
    ):
        # cloudpickle, since Hydra's state holds the closures that are OmegaConf's resolvers.
        futures: dict[Future[str | None], Job] = {
            pool.schedule(_run, args=(cloudpickle.dumps(job),)): job for job in jobs
        }
        for number, future in enumerate(as_completed(futures), 1):
            name = names[futures[future].index]
            reason = _outcome(future)
            log.info("%d/%d %s: %s", number, len(jobs), name, "done" if reason is None else f"FAILED: {reason}")
            if reason is not None:
                failures[name] = reason
    return failures


def preloaded_processes(entry_point: str) -> BaseContext:
    """Returns the context of processes that are forked from one which has all that the jobs of an entry point import.

    Its imports begin with the first call.
    """
    context = multiprocessing.get_context("forkserver")
    has_own = entry_point in [module.name for module in iter_modules(preload.__path__)]
    context.set_forkserver_preload([f"lmc_lab.preload.{entry_point if has_own else 'task'}"])
    resource_tracker.ensure_running()  # starting the server would start it, and that unblocks the signal
    # Ctrl-C is this process's to answer: the server and the jobs, which inherit the mask, would say where they were.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


@contextmanager
def _stopped_on_interrupt(pool: Any) -> Iterator[None]:
    """Ends all workers when this process is interrupted; a pool would finish its queue first."""
    try:
        yield
    except BaseException:
        pool.stop()
        raise


@contextmanager
def _forkserver_ended_on_interrupt() -> Iterator[None]:
    """Ends the server when this process is interrupted: it may be importing still, and would then start the jobs."""
    try:
        yield
    except BaseException:
        pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise


def _names(jobs: Sequence[Job]) -> dict[int, str]:
    """Returns what tells each job from the others: the overrides that not all share."""
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    return {job.index: " ".join(item for item in job.overrides if item not in shared) for job in jobs}


def _run(job: bytes) -> str | None:
    import cloudpickle

    try:
        return cloudpickle.loads(job)()
    except SystemExit as error:  # it would end the whole sweep
        return "terminated" if error.code == termination.EXIT_CODE else f"it ended itself with SystemExit({error.code})"


def _outcome(future: "Future[str | None]") -> str | None:
    """Returns None, or why the job failed; a worker that was killed raises pebble's ProcessExpired here."""
    try:
        return future.result()
    except Exception as error:
        return f"{error}"


def _begin(share: int) -> None:
    """Prepares a worker, which has `share` cores for itself."""
    os.environ["OMP_NUM_THREADS"] = str(share)
    termination.handle_sigterm()
    _end_with_parent()


def _end_with_parent() -> None:
    """Ends this worker when the process that started the sweep is gone, however it went."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
