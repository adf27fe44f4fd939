"""``hydra/launcher=pool``: the jobs of a sweep in local processes, as many at a time as there are cores.

A job that fails or is killed costs only itself; whoever repeats the sweep computes only what is missing. Imports are
light, since Hydra imports every plugin before it answers ``--help``.
"""

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from hydra_plugins.lmc_pool.sweep_config import sweep_config
from lmc_lab.process import num_allowed_cores, num_cores

log = logging.getLogger(__name__)


@dataclass
class PoolLauncherConf:
    """The node ``hydra.launcher``.

    `n_jobs` is the number of jobs at a time, all cores for null.
    """

    _target_: str = "hydra_plugins.lmc_pool.launcher.PoolLauncher"
    n_jobs: int | None = None


ConfigStore.instance().store(group="hydra/launcher", name="pool", node=PoolLauncherConf, provider="lmc_lab")


@dataclass(frozen=True)
class Job:
    """What a worker needs to run one job of a sweep; `sibling` is the config of its first job."""

    context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    sibling: DictConfig
    singletons: dict[Any, Any]
    index: int
    overrides: list[str]

    def __call__(self) -> str | None:
        """Runs the job here; returns None, or what went wrong."""
        Singleton.set_state(self.singletons)
        setup_globals()
        config = sweep_config(self.context.config_loader, self.config, self.overrides, sibling=self.sibling)
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{self.index}"
            config.hydra.job.num = self.index
        result = run_job(
            hydra_context=self.context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        return None if result.status == JobStatus.COMPLETED else _describe(result._return_value)


class PoolLauncher(Launcher):
    """See the module."""

    def __init__(self, n_jobs: int | None = None) -> None:
        self._num_workers = n_jobs or num_allowed_cores()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra gives."""
        self._context, self._task_function, self._config = hydra_context, task_function, config
        # It imports while the sweep is composed, and in vain if that fails.
        self._processes = preloaded_processes(str(config.hydra.job.config_name))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs all jobs and returns when the last is done.

        Raises:
            UserError: jobs failed; it says which, and how to repeat them.
        """
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        if not job_overrides:  # seed=range(0)
            return []
        sibling = self._context.config_loader.load_sweep_config(self._config, list(job_overrides[0]))
        jobs = [
            Job(
                context=self._context,
                task_function=self._task_function,
                config=self._config,
                sibling=sibling,
                singletons=Singleton.get_state(),
                index=initial_job_idx + i,
                overrides=list(overrides),
            )
            for i, overrides in enumerate(job_overrides)
        ]
        failures = run_jobs(jobs, num_workers=self._num_workers, context=self._processes)
        if failures:
            raise _failure(failures, len(jobs))
        return [_completed(job) for job in jobs]


def run_jobs(jobs: Sequence[Job], *, num_workers: int, context: BaseContext) -> dict[str, str]:
    """Runs `jobs` in worker processes of `context`; returns the overrides of those that failed, with the reasons."""
    import cloudpickle
    from pebble import CONSTS, ProcessPool

    CONSTS.sleep_unit = 0.01  # seconds until the pool sees that a job has ended
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
    own = f"lmc_lab.preload.{entry_point}"
    context.set_forkserver_preload([own if find_spec(own) else "lmc_lab.preload.task"])
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
    except SystemExit as error:  # Lightning's answer to SIGTERM; it would end the whole sweep
        return f"it ended itself with SystemExit({error.code})"


def _outcome(future: "Future[str | None]") -> str | None:
    """Returns None, or why the job failed; a worker that was killed raises pebble's ProcessExpired here."""
    try:
        return future.result()
    except Exception as error:
        return f"{error}"


def _begin(share: int) -> None:
    """Prepares a worker, which has `share` cores for itself."""
    os.environ["OMP_NUM_THREADS"] = str(share)
    _end_with_parent()


def _end_with_parent() -> None:
    """Ends this worker when the process that started the sweep is gone, however it went."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _describe(error: Any) -> str:
    """Returns one sentence for what the user can mend, a traceback for anything else."""
    from lmc_lab.cli import sentence

    return sentence(error) or "".join(traceback.format_exception(error))


def _failure(failures: dict[str, str], num_jobs: int) -> Exception:
    from lmc_lab.cli import this_command
    from lmc_lab.errors import UserError

    reasons = sorted(set(failures.values()))
    first = f" ({reasons[0].strip().splitlines()[-1]})" if len(reasons) == 1 else ""
    return UserError(
        f"{len(failures)} of {num_jobs} jobs failed{first}: {'; '.join(failures)}; "
        f"repeat them (finished ones are skipped) with: {this_command()}"
    )


def _completed(job: Job) -> JobReturn:
    return JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED)
