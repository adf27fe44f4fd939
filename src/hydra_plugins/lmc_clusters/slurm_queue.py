"""What has become of jobs that submitit started: of those in Slurm's queue, and of processes of this machine."""

import logging
import os
import subprocess
import time
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from hydra_plugins.lmc_pool.failed import Reasons

log = logging.getLogger(__name__)

Submitted: TypeAlias = Any  # a job of submitit's, which has no types

_SECONDS_UNTIL_LOST = 90  # that the result of a job which has left the queue may take to appear on a shared file system


class Processes:
    """Jobs that are processes of this machine."""

    def ended(self, running: Mapping[int, Submitted]) -> dict[int, Reasons]:
        """Returns what failed of those that have ended, by their indices."""
        over = [(index, job) for index, job in running.items() if job.done()]
        results = {index: (job, _result(job)) for index, job in over}
        return {index: _lost(job) if reasons is None else reasons for index, (job, reasons) in results.items()}


class Queue:
    """Jobs in Slurm's queue."""

    def __init__(self) -> None:
        self._gone_since: dict[int, float] = {}
        self._is_silent = False

    def ended(self, running: Mapping[int, Submitted]) -> dict[int, Reasons]:
        """Returns what failed of those that have ended, by their indices.

        The result of a job that has left the queue may take a while to be seen from here.
        """
        present, now = _present(running.values()), time.monotonic()
        if present is None and not self._is_silent:
            log.info("squeue does not answer; jobs that die meanwhile are not seen")
        self._is_silent = present is None
        failures = {index: failed for index, job in running.items() if (failed := _result(job)) is not None}
        for index, job in running.items():
            if present is None or job.job_id in present:
                self._gone_since.pop(index, None)
            elif now - self._gone_since.setdefault(index, now) >= _SECONDS_UNTIL_LOST and index not in failures:
                failures[index] = _lost(job)
        return failures


def _result(job: Submitted) -> Reasons | None:
    """Returns what a job says of its end, None if it has not said it."""
    from submitit.core.utils import FailedJobError

    if job.paths.folder.is_dir():
        os.listdir(job.paths.folder)  # a file system of a network may remember for a minute that a file is not there
    if not job.paths.result_pickle.exists():
        return None
    try:
        reasons: Reasons = job.result()
    except FailedJobError as error:
        errors = [line.strip() for line in str(error).splitlines() if "Error" in line]
        return {"": f"its job {job.job_id} failed: {errors[-1] if errors else error}; {job.paths.stderr} has all of it"}
    return reasons


def _present(jobs: Collection[Submitted]) -> set[str] | None:
    """Returns which jobs are in the queue, running or waiting; None where it does not answer, which is no reason to give up."""
    arrays = ",".join(sorted({job.job_id.partition("_")[0] for job in jobs}))
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T", f"--jobs={arrays}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return set() if "Invalid job id" in answer.stderr else None
    states = dict(line.split(maxsplit=1) for line in answer.stdout.splitlines() if line.strip())
    return {job_id for job_id, state in states.items() if state not in _OVER}


# States of jobs that have ended for good; REQUEUED, PREEMPTED and COMPLETING are not among them.
_OVER = frozenset(
    ["BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT"]
)


def _lost(job: Submitted) -> Reasons:
    """Returns the reason of a job that ended without saying why."""
    if not job.paths.stderr.exists():
        return {
            "": f"expected job {job.job_id} to write {job.paths.stderr}, found no such file; use an output_dir on a disk that "
            "all nodes see"
        }
    return {
        "": f"its job {job.job_id} ended before it was done (killed, or out of time or memory); {job.paths.stderr} says more"
    }
