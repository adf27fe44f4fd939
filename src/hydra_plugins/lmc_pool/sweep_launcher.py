"""What launchers of a sweep share: every job is composed before the first begins, and those that are done need no process.

A job that fails or is killed costs only itself; whoever repeats the sweep computes only what is missing. Imports are
light, since Hydra imports every plugin before it answers ``--help``.
"""

import copy
import logging
import sys
from abc import abstractmethod
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from hydra_plugins.lmc_pool.failed import Outcome, Reasons, failed_of, failure, outcome_text
from hydra_plugins.lmc_pool.names import job_name
from lmc_lab.errors import traceback_of

log = logging.getLogger(__name__)

_NUM_SHOWN = 4  # jobs that are named when a sweep begins
Outcomes = Generator[tuple[int, Reasons], None, None]  # the index of a job that ended, and what of it failed


class Job(Protocol):
    """What a process runs."""

    @property
    def name(self) -> str:
        """Returns what distinguishes it from the others."""

    def is_answered(self) -> bool:
        """Does it in this process if that takes no time; returns whether it is done."""

    def __call__(self) -> Reasons:
        """Runs it; returns what failed."""


class RunsJobs(Protocol):
    """What runs the jobs at some indices of a list, on whatever machine."""

    def __call__(self, jobs: Sequence[Job], indices: Sequence[int]) -> Outcomes:
        """Yields the index of each when it ends, and what failed."""


@dataclass(frozen=True)
class ComposedJob:
    """A job of a sweep, with what another process needs to run it; its config is composed already.

    `name` distinguishes it from the others.
    """

    name: str
    context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    singletons: dict[Any, Any]
    command: tuple[str, ...]  # of the sweep, which rows and runs name

    def is_answered(self) -> bool:
        """Returns whether it is done by a quick answer, which is given here and now (`lmc_lab.quick`)."""
        answer = getattr(self.task_function, "answer", None)
        if answer is None:
            return False
        HydraConfig.instance().set_config(self.config)
        config = copy.deepcopy(self.config)
        with open_dict(config):
            del config["hydra"]
        try:
            return bool(answer(config))
        except Exception:  # whatever it is, it is said by the process that runs the job
            return False

    def __call__(self) -> Reasons:
        """Runs the job here; returns what failed."""
        sys.argv = list(self.command)
        Singleton.set_state(self.singletons)
        setup_globals()
        result = run_job(
            hydra_context=self.context,
            task_function=self.task_function,
            config=self.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        return failed_of(result)


class SweepLauncher(Launcher):
    """Runs the jobs of a sweep; subclasses say where, in `outcomes`."""

    composes_all_first = True  # and sees before any job begins if one cannot

    @property
    @abstractmethod
    def num_workers(self) -> int:
        """Returns how many jobs run at a time."""

    @abstractmethod
    def outcomes(self, jobs: Sequence[Job], indices: Sequence[int]) -> Outcomes:
        """Runs the jobs at `indices`; yields the index of each when it ends, and what failed.

        Closed before all have ended, it ends those that are left.
        """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra gives."""
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs all jobs and returns when the last is done.

        Raises:
            HydraException: one cannot be composed; none has begun.
            UserError: jobs failed; it says which, and how to repeat them.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        if not job_overrides:  # seed=range(0)
            return []
        given = self.config.hydra.overrides.task
        jobs = [
            ComposedJob(
                name=job_name(overrides, given),
                context=self.context,
                task_function=self.task_function,
                config=self._composed(overrides, index),
                singletons=Singleton.get_state(),
                command=tuple(sys.argv),
            )
            for index, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        failed = all_outcomes(jobs, self._logged_outcomes)
        if any(failed):
            raise failure(list(map(Outcome, job_overrides, failed)), given)
        return [JobReturn(overrides=overrides, status=JobStatus.COMPLETED) for overrides in job_overrides]

    def _logged_outcomes(self, jobs: Sequence[Job], indices: Sequence[int]) -> Outcomes:
        """Says what is about to run, which may take hours until the first job ends, and runs it."""
        names = [jobs[index].name for index in indices]
        shown = "; ".join([*names[:_NUM_SHOWN], *(["…"] if len(names) > _NUM_SHOWN else [])])
        log.info("running %d of %d jobs, %d at a time: %s", len(names), len(jobs), self.num_workers, shown)
        yield from self.outcomes(jobs, indices)

    def _composed(self, overrides: Sequence[str], index: int) -> DictConfig:
        """Returns the config of a job, with Hydra's own keys."""
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{index}"
            config.hydra.job.num = index
        return config


def all_outcomes(jobs: Sequence[Job], run: RunsJobs) -> list[Reasons]:
    """Runs all jobs, those that take time by `run`; returns for each what failed, and says it when it ends."""
    reasons: list[Reasons] = [{}] * len(jobs)
    with closing(_outcomes(jobs, run)) as outcomes:
        for number, (index, failed) in enumerate(outcomes, 1):
            reasons[index] = failed
            log.info("%d/%d %s: %s", number, len(jobs), jobs[index].name, outcome_text(failed))
    return reasons


def _outcomes(jobs: Sequence[Job], run: RunsJobs) -> Outcomes:
    """Yields the index of each job when it ends, and what failed.

    Jobs are asked for an answer in turn, until one has none: it and those behind it are `run`. So a sweep with something to
    train starts its workers after a look at one job, and one that is finished starts none.
    """
    for index, job in enumerate(jobs):
        if not job.is_answered():
            yield from run(jobs, range(index, len(jobs)))
            return
        yield index, {}


def run_for_reasons(job: Job) -> Reasons:
    """Runs a job; returns what failed, be it the job itself."""
    try:
        return job()
    except Exception as error:
        return {"": traceback_of(error)}
