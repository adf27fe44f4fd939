"""The processes of a sweep, its workers: forked from one that has the imports, each for one job after another."""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import cast

from hydra_plugins.lmc_pool.failed import Reasons
from hydra_plugins.lmc_pool.sweep_launcher import Job, Outcomes, run_for_reasons
from lmc_lab import termination
from lmc_lab.process import end_after, num_cores, take_cores, take_gpu

_SECONDS_TO_END = 15  # that a job has to save its state when the sweep is ended


def run_in_processes(
    jobs: Sequence[Job], indices: Sequence[int], *, num_workers: int, gpus: Sequence[str] = ()
) -> Outcomes:
    """Runs the jobs at `indices`; yields the index of each when it ends, and what failed.

    A worker that dies costs the job that it runs. It has nothing but the end of a pipe from here: a pool would hand semaphores
    to workers, and start one more after the last job, which may look for them when they are gone already.

    Args:
        jobs: in their order.
        indices: of those that are run.
        num_workers: processes at a time.
        gpus: of which each of them sees one, as ``CUDA_VISIBLE_DEVICES`` names it; none for jobs that use none.
    """
    context = _preloaded_processes()
    share = max(1, num_cores() // min(num_workers, len(indices)))
    waiting = deque(indices)
    workers: dict[Connection, ForkServerProcess] = {}
    running: dict[Connection, int] = {}
    gpu_of: dict[Connection, str | None] = {}

    def give(pipe: Connection) -> None:
        running[pipe] = waiting.popleft()
        _send(jobs[running[pipe]], pipe)

    with _ended(workers):
        while waiting or running:
            while waiting and len(workers) < num_workers:
                gpu = _least_taken(gpus, [gpu_of[pipe] for pipe in workers])
                pipe, process = _start(share, gpu, context)
                workers[pipe], gpu_of[pipe] = process, gpu
                give(pipe)
            for pipe in cast("list[Connection]", wait(list(workers))):
                index, failed = running.pop(pipe, None), _answer(pipe)
                if failed is None:
                    failed = {"": _end_of(workers.pop(pipe))}
                elif waiting:
                    give(pipe)
                if index is not None:
                    yield index, failed


def _least_taken(gpus: Sequence[str], taken: Sequence[str | None]) -> str | None:
    """Returns the GPU that the fewest workers have, None if there are none."""
    return min(gpus, key=taken.count, default=None)


def _start(share: int, gpu: str | None, context: ForkServerContext) -> tuple[Connection, ForkServerProcess]:
    """Starts a worker; returns the end of the pipe through which it gets jobs and answers."""
    pipe, theirs = context.Pipe()
    process = context.Process(target=_work, args=(share, gpu, theirs))
    process.start()
    theirs.close()  # so that the pipe ends with the worker
    return pipe, process


def _send(job: Job, pipe: Connection) -> None:
    import cloudpickle

    with suppress(BrokenPipeError, ConnectionResetError):  # of a worker that is gone, as the pipe will say
        pipe.send_bytes(cloudpickle.dumps(job))  # since Hydra's state holds the closures that are OmegaConf's resolvers


def _answer(pipe: Connection) -> Reasons | None:
    """Returns what a worker says, or None if it is gone."""
    try:
        return cast("Reasons", pipe.recv())
    except (EOFError, ConnectionResetError):
        pipe.close()
        return None


def _end_of(process: ForkServerProcess) -> str:
    """Returns how a worker ended that did not answer."""
    process.join()
    if process.exitcode == termination.EXIT_CODE:
        return "terminated"
    return f"its process ended with exit code {process.exitcode}, before it was done"


@contextmanager
def _ended(workers: Mapping[Connection, ForkServerProcess]) -> Iterator[None]:
    """Ends the workers when the sweep is left; those that run a job have some seconds to leave it in order."""
    try:
        yield
    finally:
        for process in workers.values():
            process.terminate()
        deadline = time.monotonic() + _SECONDS_TO_END
        left = set(workers)
        # The pipes say who is gone, also where the server is, which knows the exit codes.
        while left and (ready := wait(list(left), timeout=max(0.0, deadline - time.monotonic()))):
            left -= {pipe for pipe in cast("list[Connection]", ready) if _answer(pipe) is None}
        for pipe in left:
            workers[pipe].kill()


def _preloaded_processes() -> ForkServerContext:
    """Returns the context of processes that are forked from one with the imports of jobs, which begin with the first call."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lmc_lab.preload"])
    resource_tracker.ensure_running()  # starting the server would start it, and that unblocks the signal
    # Ctrl-C is this process's to answer: the server and the jobs, which inherit the mask, would say where they were.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


def _work(share: int, gpu: str | None, pipe: Connection) -> None:
    """Runs in this process, a worker, one job after another until the sweep ends.

    It has `share` cores, and one GPU if jobs use one: the server has imported torch, which looks for GPUs when it needs them.
    """
    import cloudpickle

    termination.handle_sigterm()
    parent = multiprocessing.parent_process()
    assert parent is not None
    end_after(parent.join)
    take_cores(share)
    if gpu is not None:
        take_gpu(gpu)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the sweep is gone
        while True:
            job = cloudpickle.loads(pipe.recv_bytes())
            pipe.send(run_for_reasons(job))
