"""The processes of a sweep: forked from one that has all imports, one for each job, gone when the sweep is."""

import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pkgutil import iter_modules
from typing import Protocol, cast

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


def run_jobs(jobs: Sequence[Job], *, num_workers: int, context: ForkServerContext) -> dict[str, str]:
    """Runs `jobs` in worker processes of `context`; returns the overrides of those that failed, with the reasons."""
    names = _names(jobs)
    share = max(1, num_cores() // min(num_workers, len(jobs)))
    failures: dict[str, str] = {}
    with closing(_outcomes(jobs, num_workers, share, context)) as outcomes:
        for number, (job, reason) in enumerate(outcomes, 1):
            name = names[job.index]
            log.info("%d/%d %s: %s", number, len(jobs), name, "done" if reason is None else f"FAILED: {reason}")
            if reason is not None:
                failures[name] = reason
    return {name: failures[name] for name in names.values() if name in failures}  # in the order of the jobs


def _outcomes(
    jobs: Sequence[Job], num_workers: int, share: int, context: ForkServerContext
) -> Generator[tuple[Job, str | None], None, None]:
    """Yields each job when it ends, with what went wrong; at most `num_workers` run at a time.

    One job a process: what a job leaves behind (threads, generators, memory) is gone with it. A worker has nothing but the
    end of a pipe from here. A pool would hand semaphores to workers, and start one more after the last job, which may look for
    them when they are gone already.
    """
    waiting = deque(jobs)
    running: dict[Connection, tuple[Job, ForkServerProcess]] = {}
    with _forkserver_ended_on_interrupt(), _ended(running):  # without the server nobody knows whether a worker lives
        while waiting or running:
            while waiting and len(running) < num_workers:
                job = waiting.popleft()
                answer, process = _start(job, share, context)
                running[answer] = (job, process)
            for answer in cast("list[Connection]", wait(list(running))):
                job, process = running[answer]
                reason = _reason(answer, process)
                del running[answer]
                yield job, reason


def _start(job: Job, share: int, context: ForkServerContext) -> "tuple[Connection, ForkServerProcess]":
    """Starts a worker; returns the end of the pipe through which it answers."""
    import cloudpickle

    answer, theirs = context.Pipe(duplex=False)
    # cloudpickle, since Hydra's state holds the closures that are OmegaConf's resolvers.
    process = context.Process(target=_run, args=(cloudpickle.dumps(job), share, theirs))
    process.start()
    theirs.close()  # so that the pipe ends with the worker
    return answer, process


def _reason(answer: Connection, process: ForkServerProcess) -> str | None:
    """Returns why a job failed, or None, when its worker has answered or died."""
    try:
        return answer.recv()
    except EOFError:
        process.join()
        return f"its process ended with exit code {process.exitcode}, before it was done"
    finally:
        process.join()
        answer.close()


@contextmanager
def _ended(running: "dict[Connection, tuple[Job, ForkServerProcess]]") -> Iterator[None]:
    """Ends the workers that still run when the sweep is left; they have some seconds to leave in order."""
    try:
        yield
    finally:
        processes = [process for _, process in running.values()]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + _SECONDS_TO_END
        for process in processes:
            process.join(timeout=max(0.0, deadline - time.monotonic()))
            process.kill()


def preloaded_processes(entry_point: str) -> ForkServerContext:
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


def _run(job: bytes, share: int, answer: Connection) -> None:
    """Runs a job in this process, a worker, which has `share` cores for itself."""
    import cloudpickle

    os.environ["OMP_NUM_THREADS"] = str(share)
    termination.handle_sigterm()
    _end_with_parent()
    try:
        reason = cloudpickle.loads(job)()
    except SystemExit as error:
        is_asked = error.code == termination.EXIT_CODE
        reason = "terminated" if is_asked else f"it ended itself with SystemExit({error.code})"
    except Exception as error:
        reason = "".join(traceback.format_exception(error))
    with suppress(BrokenPipeError):  # the sweep may be gone
        answer.send(reason)


def _end_with_parent() -> None:
    """Ends this worker when the process that started the sweep is gone, however it went."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
