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
        """Returns what failed of those that have ended, by their places."""
        over = [(place, job) for place, job in running.items() if job.done()]
        results = {place: (job, _result(job)) for place, job in over}
        return {place: _lost(job) if found is None else found for place, (job, found) in results.items()}


class Queue:
    """Jobs in Slurm's queue."""

    def __init__(self) -> None:
        self._gone_since: dict[int, float] = {}
        self._is_silent = False

    def ended(self, running: Mapping[int, Submitted]) -> dict[int, Reasons]:
        """Returns what failed of those that have ended, by their places.

        The result of a job that has left the queue may take a while to be seen from here.
        """
        present, now = _present(running.values()), time.monotonic()
        if present is None and not self._is_silent:
            log.info("squeue does not answer; jobs that die meanwhile are not seen")
        self._is_silent = present is None
        found = {place: failed for place, job in running.items() if (failed := _result(job)) is not None}
        for place, job in running.items():
            if present is None or job.job_id in present:
                self._gone_since.pop(place, None)
            elif now - self._gone_since.setdefault(place, now) >= _SECONDS_UNTIL_LOST and place not in found:
                found[place] = _lost(job)
        return found


def _result(job: Submitted) -> Reasons | None:
    """Returns what a job says of its end, None if it has not said it."""
    from submitit.core.utils import FailedJobError

    if job.paths.folder.is_dir():
        os.listdir(job.paths.folder)  # a file system of a network may remember for a minute that a file is not there
    if not job.paths.result_pickle.exists():
        return None
    try:
        found: Reasons = job.result()
    except FailedJobError as error:
        told = [line.strip() for line in str(error).splitlines() if "Error" in line]
        return {"": f"its job {job.job_id} failed: {told[-1] if told else error}; {job.paths.stderr} has all of it"}
    return found


def _present(jobs: Collection[Submitted]) -> set[str] | None:
    """Returns which jobs are in the queue, running or waiting; None where it does not answer, which is no reason to give up."""
    arrays = ",".join(sorted({job.job_id.partition("_")[0] for job in jobs}))
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T", f"--jobs={arrays}"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if told.returncode != 0:
        return set() if "Invalid job id" in told.stderr else None
    states = dict(line.split(maxsplit=1) for line in told.stdout.splitlines() if line.strip())
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
