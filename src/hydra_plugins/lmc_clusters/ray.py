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
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.lmc_clusters.cluster_launcher import (
    ClusterLauncher,
    answered,
    not_installed,
    plain_settings,
    run_on_node,
)
from hydra_plugins.lmc_clusters.sharing import SharedFolder
from hydra_plugins.lmc_pool.failed import Reasons
from hydra_plugins.lmc_pool.sweep_launcher import Job, Outcomes
from lmc_lab import termination
from lmc_lab.errors import UserError, one_line

_SECONDS_BETWEEN_SIGNS = 10.0  # of the sweep to its jobs that it is still there


@dataclass
class RayLauncherConf:
    """The node ``hydra.launcher``; `options` are further ones of `ray.remote`, such as `resources`."""

    _target_: str = "hydra_plugins.lmc_clusters.ray.RayLauncher"
    n_jobs: int = 16  # at a time; branches of a split are merged, so that a sweep is about as many
    address: str | None = None
    num_cpus: float = 1  # that a job needs
    num_gpus: float = 0
    max_retries: int = 100  # how often a job may start again since its worker died
    options: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="lmc_lab")


class RayLauncher(ClusterLauncher):
    """Gives a Ray cluster a task for each job.

    Raises:
        UserError: Ray is not installed or not there, or refuses a key.
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
        super().__init__(n_jobs)
        self._address = address
        needs = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_retries": max_retries}
        self._options = needs | plain_settings(options)

    def outcomes(self, jobs: Sequence[Job], indices: Sequence[int]) -> Outcomes:
        """Gives the cluster as many jobs as may run at a time; those that are left when the sweep ends are killed."""
        waiting = deque((yield from answered(jobs, indices)))
        cores = max(1, int(self._options["num_cpus"]))
        running: dict[int, Any] = {}
        with _cluster(self._address) as ray, self.folder.held() as show:
            run = _task(ray, self._options)
            try:
                while waiting or running:
                    while waiting and len(running) < self._n_jobs:
                        index = waiting.popleft()
                        running[index] = run.remote(_packed(jobs[index]), self.folder, os.getcwd(), cores)
                    done, _ = ray.wait(list(running.values()), num_returns=1, timeout=_SECONDS_BETWEEN_SIGNS)
                    show()
                    for index in [index for index, task in running.items() if task in done]:
                        yield index, _answer(ray, running.pop(index))
            finally:
                for task in running.values():
                    ray.cancel(task, force=True)


def _task(ray: Any, options: Mapping[str, Any]) -> Any:
    """Returns what runs a job on the cluster; a worker that had a GPU is not used again, since it keeps it."""
    try:
        return ray.remote(**options)(_run)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"expected options that Ray takes in hydra.launcher, found others ({error}); change num_cpus, num_gpus, "
            "max_retries or options"
        ) from error


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """Gives Ray, which has no types worth the name, joined to a cluster.

    Raises:
        UserError: Ray is not installed, or cannot join.
    """
    try:
        import ray
    except ImportError:
        raise not_installed("Ray", "ray") from None
    try:
        ray.init(address=address, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = "this machine" if address is None else f"hydra.launcher.address={address}"
        raise UserError(
            f"expected to join a Ray cluster at {where}, found that this cannot be ({one_line(error)}); start one of "
            "this version of Ray (ray start --head), or leave the address out for one of this machine"
        ) from error
    termination.handle_sigterm()  # Ray has taken it over
    try:
        yield ray
    finally:
        ray.shutdown()


def _packed(job: Job) -> bytes:
    import cloudpickle

    packed: bytes = cloudpickle.dumps(job)  # since Hydra's state holds the closures that are OmegaConf's resolvers
    return packed


def _run(packed: bytes, shared: SharedFolder, folder: str, num_cores: int) -> Reasons:
    """Runs a job in a worker of the cluster.

    Args:
        packed: the job.
        shared: the folder of the sweep.
        folder: which the sweep was started in, where the job finds its own modules, and relative paths.
        num_cores: that it has.
    """
    import cloudpickle

    termination.handle_sigterm()
    if reason := shared.why_unusable():
        return {"": reason}
    os.chdir(folder)
    sys.path.insert(0, folder)
    return run_on_node(cloudpickle.loads(packed), shared, num_cores)


def _answer(ray: Any, task: Any) -> Reasons:
    """Returns what a task says, or how it ended."""
    try:
        failed: Reasons = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        return {"": f"its task failed: {type(error.cause).__name__}: {error.cause}"}
    except ray.exceptions.RayError as error:
        return {"": f"its worker ended before it was done ({one_line(error)})"}
    return failed
