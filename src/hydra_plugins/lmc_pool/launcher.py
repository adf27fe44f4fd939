"""``hydra/launcher=pool``: the jobs of a sweep in local processes, as many as there are cores."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.lmc_pool.processes import run_in_processes
from hydra_plugins.lmc_pool.sweep_launcher import Job, Outcomes, SweepLauncher
from lmc_lab.errors import UserError
from lmc_lab.process import num_allowed_cores, visible_gpus


@dataclass
class PoolLauncherConf:
    """The node ``hydra.launcher``.

    `n_jobs` is the number of jobs at a time. Null: as many as there are GPUs where jobs compute on one, else all cores.
    """

    _target_: str = "hydra_plugins.lmc_pool.launcher.PoolLauncher"
    n_jobs: int | None = None


ConfigStore.instance().store(group="hydra/launcher", name="pool", node=PoolLauncherConf, provider="lmc_lab")


class PoolLauncher(SweepLauncher):
    """Runs the jobs of a sweep in a pool of processes on this machine."""

    def __init__(self, n_jobs: int | None = None) -> None:
        if n_jobs is not None and n_jobs < 1:
            raise UserError(
                f"expected hydra.launcher.n_jobs to be a whole number >= 1 or null, found {n_jobs}; change it"
            )
        self._n_jobs = n_jobs
        self._gpus: list[str] = []  # each worker sees one of them

    @property
    def num_workers(self) -> int:
        """Returns how many jobs run at a time; of those that use a GPU it is known after `setup`."""
        return self._n_jobs or len(self._gpus) or num_allowed_cores()

    @property
    def jobs_per_worker(self) -> int:
        """Returns how many jobs each worker gets at least: one on a GPU, where the runs of a job are faster together.

        On a CPU four: runs of an early split are longer, or some are finished, and no core should wait for another one's job.
        """
        return 1 if self._gpus else 4

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra gives."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self._gpus = visible_gpus() if _uses_gpu(config) else []

    def outcomes(self, jobs: Sequence[Job], indices: Sequence[int]) -> Outcomes:
        """Runs the jobs in processes of this machine."""
        return run_in_processes(jobs, indices, num_workers=self.num_workers, gpus=self._gpus)


def _uses_gpu(config: DictConfig) -> bool:
    """Returns whether each job computes on the first GPU that it sees, if any: those that measure, and those that train."""
    if "analysis" in config:
        return str(OmegaConf.select(config, "evaluation.device")) != "cpu"
    is_first = OmegaConf.select(config, "trainer.devices") == 1  # and not one that the user has named
    return is_first and str(OmegaConf.select(config, "trainer.accelerator")) in ("auto", "cuda", "gpu")
