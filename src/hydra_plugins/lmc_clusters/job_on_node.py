"""A job of a sweep as submitit runs it on a node."""

import signal
import time
from dataclasses import dataclass
from typing import Any

from hydra_plugins.lmc_clusters.cluster_launcher import run_on_node
from hydra_plugins.lmc_clusters.sharing import SharedFolder
from hydra_plugins.lmc_pool.failed import Reasons
from hydra_plugins.lmc_pool.sweep_launcher import Job
from lmc_lab import termination

_SECONDS_UNTIL_KILLED = 600  # that Slurm may take to end a job that it has asked to end


@dataclass(frozen=True)
class JobOnNode:
    """A job of a sweep as submitit runs it on a node.

    submitit's own handler gives a job that is warned back to the queue at once, in the middle of a step. Here it has to wait
    until training has ended its step and saved its state.

    Args:
        job: of the sweep.
        folder: of the sweep.
        num_cores: that it has.
        is_ended_by_slurm: whether it waits after SIGTERM, until Slurm ends it and decides whether it comes back.
    """

    job: Job
    folder: SharedFolder
    num_cores: int
    is_ended_by_slurm: bool

    def __call__(self) -> Reasons:
        """Runs the job; returns what failed."""
        from submitit import JobEnvironment

        warning = JobEnvironment._usr_sig()
        give_back = signal.getsignal(warning)
        assert callable(give_back)  # submitit's
        termination.handle_sigterm(warning)
        try:
            return run_on_node(self.job, self.folder, self.num_cores)
        except SystemExit:
            deadline = time.monotonic() + (_SECONDS_UNTIL_KILLED if self.is_ended_by_slurm else 0)
            while not termination.is_requested_by(warning) and time.monotonic() < deadline:
                time.sleep(0.5)  # of a job that is preempted SIGTERM comes first
            if termination.is_requested_by(warning):
                give_back(warning, None)
            raise

    def checkpoint(self) -> Any:
        """Returns what the queue gets back: the same job, which goes on from its states."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
