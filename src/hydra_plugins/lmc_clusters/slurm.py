"""``hydra/launcher=slurm``: the jobs of a sweep as arrays of Slurm's, through submitit (extra ``lmc_lab[slurm]``).

The sweep stays where it was started and waits. A job that is warned of its end saves its state, goes back to the queue, and
resumes. Which jobs are there the queue says: accounting is not needed. What a job prints, and why it died, is in its folder.
"""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from hydra.core.config_store import ConfigStore

from hydra_plugins.lmc_clusters.cluster_launcher import (
    ClusterLauncher,
    answered,
    not_installed,
    plain_settings,
)
from hydra_plugins.lmc_clusters.job_on_node import JobOnNode
from hydra_plugins.lmc_clusters.slurm_queue import Processes, Queue, Submitted
from hydra_plugins.lmc_pool.failed import Reasons
from hydra_plugins.lmc_pool.sweep_launcher import Job, Outcomes
from lmc_lab.errors import UserError

_CLUSTERS = ("slurm", "local")
_LARGEST_ARRAY = 1000  # MaxArraySize is 1001 by default


@dataclass
class SlurmLauncherConf:
    """The node ``hydra.launcher``: what an array is submitted with; null leaves it to the cluster.

    Keys are submitit's. What has none here, such as `licenses`, goes into `additional_parameters`, as sbatch calls it.
    `cluster=local` runs the same jobs as processes of this machine, to try them.
    """

    _target_: str = "hydra_plugins.lmc_clusters.slurm.SlurmLauncher"
    n_jobs: int = 16  # at a time; branches of a split are merged, so that a sweep is about as many
    cluster: str = "slurm"
    folder: str = "${hydra.sweep.dir}/jobs/%j"  # on a file system that all nodes see
    timeout_min: int = 240
    cpus_per_task: int = 1
    gpus_per_node: int | None = None
    mem_gb: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    setup: list[str] | None = None  # commands before the job, such as ``module load cuda``
    signal_delay_s: int = 120  # before its time is over a job gets a signal
    max_num_timeout: int = 100  # how often it may go back to the queue for its time
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    poll_seconds: float = 10.0


ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmLauncherConf, provider="lmc_lab")

_OF_ALL = ("timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")  # that submitit takes for whichever cluster
_OF_SLURM = ("partition", "account", "qos", "constraint", "exclude", "setup", "signal_delay_s")


class Executor(Protocol):
    """What is used of submitit's executor."""

    def update_parameters(self, **parameters: Any) -> None:
        """Sets what jobs are submitted with."""

    def submit_array(self, functions: Sequence[Callable[[], Reasons]]) -> list[Submitted]:
        """Submits one job for each function."""


class SlurmLauncher(ClusterLauncher):
    """Submits arrays, and asks the queue for them.

    Raises:
        UserError: submitit is not installed, or a key is not what it may be.
    """

    def __init__(
        self,
        *,
        n_jobs: int,
        cluster: str,
        folder: str,
        max_num_timeout: int,
        additional_parameters: Mapping[str, Any],
        poll_seconds: float,
        **parameters: Any,
    ) -> None:
        super().__init__(n_jobs)
        if cluster not in _CLUSTERS:
            raise UserError(
                f"expected hydra.launcher.cluster to be one of {', '.join(_CLUSTERS)}, found '{cluster}'; change it"
            )
        if not 0 < poll_seconds <= 30:
            raise UserError(
                f"expected hydra.launcher.poll_seconds to be above 0 and at most 30, found {poll_seconds}; change it"
            )
        self._is_slurm = cluster == "slurm"
        self._folder_of_jobs = folder if self._is_slurm else folder.replace("%j", "local")
        self._max_num_timeout, self._poll_seconds = max_num_timeout, poll_seconds
        self._parameters, self._additional = plain_settings(parameters), plain_settings(additional_parameters)

    def outcomes(self, jobs: Sequence[Job], indices: Sequence[int]) -> Outcomes:
        """Submits the jobs and waits for them; those that are left when the sweep ends are cancelled."""
        waiting = deque((yield from answered(jobs, indices)))
        executor, running = self._executor(), dict[int, Submitted]()
        watch = Queue() if self._is_slurm else Processes()
        with self.folder.held() as show, _cancelled_after(running, is_slurm=self._is_slurm):
            while waiting or running:
                # An array of Slurm's keeps to its parallelism by itself, processes of this machine do not.
                room = _LARGEST_ARRAY if self._is_slurm else self._n_jobs - len(running)
                if new := [waiting.popleft() for _ in range(min(room, len(waiting)))]:
                    with _uninterrupted():  # or jobs that nobody knows of would be left behind
                        running |= zip(new, self._submitted(executor, [jobs[index] for index in new]), strict=True)
                for index, failed in watch.ended(running).items():
                    del running[index]
                    yield index, failed
                if running:
                    time.sleep(self._poll_seconds)
                    show()

    def _executor(self) -> Executor:
        try:
            from submitit import AutoExecutor
        except ImportError:
            raise not_installed("submitit", "slurm") from None
        cluster = "slurm" if self._is_slurm else "local"
        with _refusals():
            executor: Executor = AutoExecutor(
                self._folder_of_jobs, cluster, slurm_max_num_timeout=self._max_num_timeout
            )
            executor.update_parameters(**self._submitted_with())
        return executor

    def _submitted(self, executor: Executor, jobs: Sequence[Job]) -> list[Submitted]:
        """Submits jobs; from a job of Slurm's, too, whose variables would be taken for theirs."""
        from submitit.helpers import clean_env

        cores = int(self._parameters["cpus_per_task"])
        on_nodes = [JobOnNode(job, self.folder, cores, self._is_slurm) for job in jobs]
        of_cluster = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}  # where the cluster is
        with _refusals(), clean_env():
            os.environ |= of_cluster
            return executor.submit_array(on_nodes)

    def _submitted_with(self) -> dict[str, Any]:
        """Returns the parameters as submitit calls them; those of Slurm alone begin with its name."""
        given = {name: value for name, value in self._parameters.items() if value is not None}
        of_slurm = {f"slurm_{name}": given[name] for name in _OF_SLURM if name in given}
        # a job that loses its node comes back, whatever the cluster's default is
        further = {"requeue": True, **self._additional}
        return {
            "name": "lmc_lab",
            **{name: given[name] for name in _OF_ALL if name in given},
            **of_slurm,
            "slurm_array_parallelism": self._n_jobs,
            "slurm_additional_parameters": {name: value for name, value in further.items() if value is not False},
        }


@contextmanager
def _refusals() -> Iterator[None]:
    """Turns what submitit and sbatch refuse into one sentence."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        yield
    except (RuntimeError, NameError, ValueError, AssertionError, FailedJobError, FailedSubmissionError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise UserError(
            f"expected Slurm to take the jobs, found that it does not ({lines[-1]}); "
            "change the keys of hydra.launcher, or run the jobs on this machine with hydra.launcher.cluster=local"
        ) from error


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back while it lasts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _cancelled_after(running: Mapping[int, Submitted], *, is_slurm: bool) -> Iterator[None]:
    """Cancels the jobs that still run when it is left; those of Slurm save their states first."""
    try:
        yield
    finally:
        if running and is_slurm:
            subprocess.run(["scancel", *(job.job_id for job in running.values())], check=False, timeout=60)
        elif running:
            for job in running.values():
                job.cancel(check=False)
