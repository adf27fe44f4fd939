"""``hydra/launcher=ray``: the jobs of a sweep as tasks of a Ray cluster (extra ``lmc_lab[ray]``).

It joins the cluster at `address`, or the one that RAY_ADDRESS names or that runs on this machine, and starts one here
if there is none. A job whose worker dies starts again elsewhere, and resumes.
"""

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.lmc_clusters.sharing import ended_after, held, missing_lock
from hydra_plugins.lmc_pool.failed import Reasons
from hydra_plugins.lmc_pool.sweep_launcher import Job, Outcomes, SweepLauncher, reasons_of_job
from lmc_lab import termination
from lmc_lab.errors import UserError

_SECONDS_BETWEEN_SIGNS = 10.0  # of the sweep to its jobs that it is still there


@dataclass
class RayLauncherConf:
    """The node ``hydra.launcher``; `options` are further ones of `ray.remote`, such as `resources`."""

    _target_: str = "hydra_plugins.lmc_clusters.ray.RayLauncher"
    n_jobs: int = 16  # at a time; points of a sweep that differ in seeds alone are merged into as many
    address: str | None = None
    num_cpus: float = 1  # that a job needs
    num_gpus: float = 0
    max_retries: int = 100  # how often a job may start again since its worker died
    options: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="lmc_lab")


class RayLauncher(SweepLauncher):
    """See the module.

    Raises:
        UserError: `n_jobs` is no number of jobs.
    """

    def __init__(
        self,
        *,
        n_jobs: int,
        address: str | None,
        num_cpus: float,
        num_gpus: float,
        max_retries: int,
        options: Mapping[str, Any],
    ) -> None:
        if n_jobs < 1:
            raise UserError(f"expected hydra.launcher.n_jobs to be a whole number >= 1, found {n_jobs}; change it")
        self._n_jobs, self._address = n_jobs, address
        needs = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": max_retries}
        self._options = needs | {str(name): value for name, value in options.items()}

    @property
    def num_workers(self) -> int:
        """Returns how many jobs run at a time."""
        return self._n_jobs

    def outcomes(self, jobs: Sequence[Job], places: Sequence[int]) -> Outcomes:
        """Gives the cluster as many jobs as may run at a time; those that are left when the sweep ends are cancelled."""
        with _cluster(self._address) as ray:
            remote = ray.remote(_run).options(**self._options)
            waiting = deque(places)
            running: dict[int, Any] = {}
            with ended_after(running, lambda task: ray.cancel(task, force=True)), held(self.sweep) as lock:
                while waiting or running:
                    while waiting and len(running) < self._n_jobs:
                        place = waiting.popleft()
                        running[place] = remote.remote(_packed(jobs[place]), self.sweep, os.getcwd())
                    done, _ = ray.wait(list(running.values()), num_returns=1, timeout=_SECONDS_BETWEEN_SIGNS)
                    lock.show()
                    for place in [place for place, task in running.items() if task in done]:
                        yield place, _answer(ray, running.pop(place))


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """Gives Ray, which has no types worth the name, joined to a cluster.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError:
        raise UserError(
            "expected Ray for hydra/launcher=ray, found that it is not installed; install it with: "
            "pip install 'lmc_lab[ray]'"
        ) from None
    try:
        ray.init(address=address, logging_level=logging.WARNING)
    except (ConnectionError, ValueError) as error:
        raise UserError(
            f"expected a Ray cluster at hydra.launcher.address={address}, found none ({str(error).splitlines()[0]}); "
            "start one (ray start --head), or leave the address out for one of this machine"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _packed(job: Job) -> bytes:
    import cloudpickle

    packed: bytes = cloudpickle.dumps(job)  # since Hydra's state holds the closures that are OmegaConf's resolvers
    return packed


def _run(packed: bytes, sweep: Path | None, folder: str) -> Reasons:
    """Runs a job in a worker of the cluster.

    Args:
        packed: the job.
        sweep: the folder whose lock is tried; None without locks.
        folder: which the sweep was started in, where the job finds its own modules, and places that are relative.
    """
    import cloudpickle

    os.chdir(folder)
    sys.path.insert(0, folder)

    termination.handle_sigterm()
    if reason := missing_lock(sweep):
        return {"": reason}
    return reasons_of_job(cloudpickle.loads(packed))


def _answer(ray: Any, task: Any) -> Reasons:
    """Returns what a task says, or how it ended."""
    try:
        failed: Reasons = ray.get(task)
    except ray.exceptions.RayError as error:
        return {"": f"its worker ended before it was done: {str(error).strip().splitlines()[0]}"}
    return failed
