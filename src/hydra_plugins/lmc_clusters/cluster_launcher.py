"""What launchers of clusters share: few jobs with many branches each, in a folder that all machines see."""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hydra_plugins.lmc_clusters.sharing import SharedFolder
from hydra_plugins.lmc_pool.failed import Reasons
from hydra_plugins.lmc_pool.sweep_launcher import Job, SweepLauncher, run_for_reasons
from lmc_lab.errors import UserError
from lmc_lab.process import take_cores


class ClusterLauncher(SweepLauncher):
    """Sends jobs to other machines.

    Raises:
        UserError: `n_jobs` is no number of jobs.
    """

    merges_into_few_jobs = True  # for the sweeper: a job costs its start, and a place in a queue

    def __init__(self, n_jobs: int) -> None:
        if n_jobs < 1:
            raise UserError(f"expected hydra.launcher.n_jobs to be a whole number >= 1, found {n_jobs}; change it")
        self._n_jobs = n_jobs

    @property
    def num_workers(self) -> int:
        """Returns how many jobs run at a time."""
        return self._n_jobs

    @property
    def folder(self) -> SharedFolder:
        """Returns the folder that the sweep shares with its jobs."""
        config = self.config
        others = [Path(str(config[name])).absolute() for name in ("output_dir", "cache_dir") if config.get(name)]
        sweep = Path(str(config.hydra.sweep.dir)).absolute()
        return SharedFolder(sweep, bool(config.get("locks", True)), tuple(others))


def answered(jobs: Sequence[Job], indices: Sequence[int]) -> Generator[tuple[int, Reasons], None, list[int]]:
    """Yields the indices of jobs that are done by a quick answer; returns the others, which need a machine.

    The first needs one: it was asked before.
    """
    left = list(indices[:1])
    for index in indices[1:]:
        if jobs[index].is_answered():
            yield index, {}
        else:
            left.append(index)
    return left


def run_on_node(job: Job, folder: SharedFolder, num_cores: int) -> Reasons:
    """Runs a job on the machine that it was sent to; returns what failed."""
    if reason := folder.why_unusable():
        return {"": reason}
    take_cores(num_cores)
    return run_for_reasons(job)


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings without OmegaConf's classes, which neither submitit nor Ray takes."""
    return {
        str(name): OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for name, value in settings.items()
    }


def not_installed(package: str, launcher: str) -> UserError:
    """Returns the error of a launcher without its package."""
    return UserError(
        f"expected {package} for hydra/launcher={launcher}, found that it is not installed; install it with: "
        f"pip install 'lmc_lab[{launcher}]'"
    )
