"""``hydra/launcher=slurm``: the jobs of a sweep as an array of Slurm's, through submitit (extra ``lmc_lab[slurm]``).

The sweep stays where it was started and waits. A job that Slurm ends for its time or for others saves its state, goes back
to the queue, and resumes. Which jobs are there the queue says: accounting is not needed. What a job prints, and why it
died, is in its folder.
"""

import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from hydra.core.config_store import ConfigStore

from hydra_plugins.lmc_clusters.sharing import ended_after, held, missing_lock
from hydra_plugins.lmc_pool.failed import Reasons
from hydra_plugins.lmc_pool.sweep_launcher import Job, Outcomes, SweepLauncher, reasons_of_job
from lmc_lab import termination
from lmc_lab.errors import UserError

_CLUSTERS = ("slurm", "local")
_SECONDS_UNTIL_LOST = 30  # that the result of a job which has left the queue may take to appear on a shared file system


@dataclass
class SlurmLauncherConf:
    """The node ``hydra.launcher``: what an array is submitted with; null leaves it to the cluster.

    Keys are submitit's. What has none here, such as `licenses`, goes into `additional_parameters`, as sbatch calls it.
    `cluster=local` runs the same jobs as processes of this machine, to try them.
    """

    _target_: str = "hydra_plugins.lmc_clusters.slurm.SlurmLauncher"
    n_jobs: int = 16  # at a time; points of a sweep that differ in seeds alone are merged into as many
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
    signal_delay_s: int = 120  # before its time is over a job is told so
    max_num_timeout: int = 1000  # how often it may go back to the queue for its time
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    poll_seconds: float = 10.0


ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmLauncherConf, provider="lmc_lab")

_OF_ALL = ("timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")  # that submitit takes for whichever cluster
_OF_SLURM = ("partition", "account", "qos", "constraint", "exclude", "setup", "signal_delay_s")
_Submitted: TypeAlias = Any  # a job of submitit's, which has no types


class Executor(Protocol):
    """What is used of submitit's executor."""

    def update_parameters(self, **parameters: Any) -> None:
        """Sets what jobs are submitted with."""

    def submit_array(self, functions: Sequence[Callable[[], Reasons]]) -> list[_Submitted]:
        """Submits one job for each function."""


@dataclass(frozen=True)
class RequeuedJob:
    """A job of a sweep on a node, which goes back to the queue where Slurm takes the node away.

    submitit's own handler does that at once, in the middle of a step. Here it has to wait until training has ended its
    step and saved its state.
    """

    job: Job
    sweep: Path | None  # the folder of the sweep, whose lock is tried; None without locks

    def __call__(self) -> Reasons:
        """Runs the job; returns what failed."""
        from submitit import JobEnvironment

        if reason := missing_lock(self.sweep):
            return {"": reason}

        warning = JobEnvironment._usr_sig()
        give_back = signal.getsignal(warning)
        termination.handle_sigterm(warning)
        try:
            return reasons_of_job(self.job)
        except SystemExit:
            if termination.requested_by() == warning and callable(give_back):
                give_back(warning, None)
            raise

    def checkpoint(self) -> Any:
        """Returns what the queue gets back: the same job, which goes on from its states."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class SlurmLauncher(SweepLauncher):
    """See the module.

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
        if n_jobs < 1:
            raise UserError(f"expected hydra.launcher.n_jobs to be a whole number >= 1, found {n_jobs}; change it")
        if cluster not in _CLUSTERS:
            raise UserError(
                f"expected hydra.launcher.cluster to be one of {', '.join(_CLUSTERS)}, found '{cluster}'; change it"
            )
        self._n_jobs, self._cluster, self._folder = n_jobs, cluster, folder
        self._max_num_timeout, self._poll_seconds = max_num_timeout, poll_seconds
        self._parameters, self._additional = parameters, dict(additional_parameters)

    @property
    def num_workers(self) -> int:
        """Returns how many jobs run at a time."""
        return self._n_jobs

    def outcomes(self, jobs: Sequence[Job], places: Sequence[int]) -> Outcomes:
        """Submits the jobs and waits for them; those that are left when the sweep ends are cancelled."""
        executor, waiting = self._executor(), deque(places)
        running: dict[int, _Submitted] = {}
        watch = _Queue() if self._cluster == "slurm" else _Processes()
        with ended_after(running, lambda job: job.cancel(check=False)), held(self.sweep) as lock:
            while waiting or running:
                # An array of Slurm's keeps to its parallelism by itself, processes of this machine do not.
                room = len(waiting) if self._cluster == "slurm" else self._n_jobs - len(running)
                if new := [waiting.popleft() for _ in range(min(room, len(waiting)))]:
                    jobs_of_new = executor.submit_array([RequeuedJob(jobs[place], self.sweep) for place in new])
                    running |= zip(new, jobs_of_new, strict=True)
                for place, failed in watch.ended(running).items():
                    del running[place]
                    yield place, failed
                if running:
                    time.sleep(self._poll_seconds)
                    lock.show()

    def _executor(self) -> Executor:
        try:
            from submitit import AutoExecutor
        except ImportError:
            raise UserError(
                "expected submitit for hydra/launcher=slurm, found that it is not installed; install it with: "
                "pip install 'lmc_lab[slurm]'"
            ) from None
        try:
            executor = AutoExecutor(self._folder, self._cluster, slurm_max_num_timeout=self._max_num_timeout)
            executor.update_parameters(**self._submitted_with())
        except (RuntimeError, NameError, ValueError, AssertionError) as error:
            raise UserError(
                f"expected a cluster that takes the keys of hydra.launcher, found: {str(error).splitlines()[0]}; "
                "hydra.launcher.cluster=local runs the jobs on this machine"
            ) from error
        return executor

    def _submitted_with(self) -> dict[str, Any]:
        """Returns the parameters as submitit calls them; those of Slurm alone begin with its name."""
        given = {name: _plain(value) for name, value in self._parameters.items() if value is not None}
        of_slurm = {f"slurm_{name}": given[name] for name in _OF_SLURM if name in given}
        # a job that loses its node comes back, whatever the cluster's default is
        further = {"requeue": True, **{name: _plain(value) for name, value in self._additional.items()}}
        return {
            "name": "lmc_lab",
            **{name: given[name] for name in _OF_ALL if name in given},
            **of_slurm,
            "slurm_array_parallelism": self._n_jobs,
            "slurm_additional_parameters": further,
        }


def _plain(value: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


class _Processes:
    """Jobs that are processes of this machine."""

    def ended(self, running: Mapping[int, _Submitted]) -> dict[int, Reasons]:
        """Returns what failed of those that have ended, by their places."""
        over = [(place, job) for place, job in running.items() if job.done()]
        results = {place: _result(job) for place, job in over}
        return {place: _lost(job) if results[place] is None else results[place] or {} for place, job in over}


class _Queue:
    """Jobs in Slurm's queue."""

    def __init__(self) -> None:
        self._gone_since: dict[int, float] = {}

    def ended(self, running: Mapping[int, _Submitted]) -> dict[int, Reasons]:
        """Returns what failed of those that have ended, by their places.

        The result of a job that has left the queue may take a while to be seen from here.
        """
        present, now = _present(running.values()), time.monotonic()
        found = {place: failed for place, job in running.items() if (failed := _result(job)) is not None}
        for place, job in running.items():
            if present is None or job.job_id in present:
                self._gone_since.pop(place, None)
            elif now - self._gone_since.setdefault(place, now) >= _SECONDS_UNTIL_LOST and place not in found:
                found[place] = _lost(job)
        return found


def _result(job: _Submitted) -> Reasons | None:
    """Returns what a job says of its end, None if it has not said it."""
    from submitit.core.utils import FailedJobError

    if not job.paths.result_pickle.exists():
        return None
    try:
        found: Reasons = job.result()
    except FailedJobError as error:
        return {"": str(error)}
    return found


def _present(jobs: Collection[_Submitted]) -> set[str] | None:
    """Returns which jobs are in the queue, running or waiting; None where it does not answer, which is no reason to give up."""
    arrays = ",".join(sorted({job.job_id.partition("_")[0] for job in jobs}))
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T", f"--jobs={arrays}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        return set() if "Invalid job id" in told.stderr else None
    states = dict(line.split(maxsplit=1) for line in told.stdout.splitlines() if line.strip())
    return {job_id for job_id, state in states.items() if state not in _OVER}


_OVER = frozenset(
    ["BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT"]
)  # and not, say, REQUEUED, PREEMPTED or COMPLETING


def _lost(job: _Submitted) -> Reasons:
    printed: Path = job.paths.stderr
    return {
        "": f"its job {job.job_id} ended before it was done (killed, or out of time or memory?); {printed} says more"
    }
