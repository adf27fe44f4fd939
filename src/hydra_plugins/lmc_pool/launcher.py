"""``hydra/launcher=pool``: the jobs of a sweep in local processes, as many as there are cores.

A job that fails or is killed costs only itself; whoever repeats the sweep computes only what is missing. Imports are
light, since Hydra imports every plugin before it answers ``--help``.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from hydra_plugins.lmc_pool.failed import Outcome, Reasons, failed_of, failure
from hydra_plugins.lmc_pool.names import job_name
from hydra_plugins.lmc_pool.processes import run_jobs
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


@dataclass(frozen=True)
class Job:
    """What a worker needs to run one job of a sweep, whose config is composed already.

    `name` tells it from the others.
    """

    name: str
    context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    singletons: dict[Any, Any]

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
        except Exception:  # whatever it is, it is said by the worker that runs the job
            return False

    def __call__(self) -> Reasons:
        """Runs the job here; returns what failed."""
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


class PoolLauncher(Launcher):
    """See the module."""

    composes_all_first = True  # and sees before any job begins if one cannot

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

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what Hydra gives."""
        self._context, self._task_function, self._config = hydra_context, task_function, config
        self._gpus = visible_gpus() if _uses_gpu(config) else []

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs all jobs and returns when the last is done.

        Raises:
            HydraException: one cannot be composed; none has begun.
            UserError: jobs failed; it says which, and how to repeat them.
        """
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        if not job_overrides:  # seed=range(0)
            return []
        given = self._config.hydra.overrides.task
        jobs = [
            Job(
                name=job_name(overrides, given),
                context=self._context,
                task_function=self._task_function,
                config=self._composed(overrides, index),
                singletons=Singleton.get_state(),
            )
            for index, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        outcomes = run_jobs(jobs, num_workers=self.num_workers, gpus=self._gpus)
        if any(outcomes):
            raise failure(list(map(Outcome, job_overrides, outcomes)), given)
        return [JobReturn(overrides=overrides, status=JobStatus.COMPLETED) for overrides in job_overrides]

    def _composed(self, overrides: Sequence[str], index: int) -> DictConfig:
        """Returns the config of a job, with Hydra's own keys."""
        config = self._context.config_loader.load_sweep_config(self._config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{index}"
            config.hydra.job.num = index
        return config


def _uses_gpu(config: DictConfig) -> bool:
    """Returns whether each job computes on the first GPU that it sees, if any: those that measure, and those that train."""
    if "analysis" in config:
        return str(OmegaConf.select(config, "evaluation.device")) != "cpu"
    is_first = OmegaConf.select(config, "trainer.devices") == 1  # and not one that the user has named
    return is_first and str(OmegaConf.select(config, "trainer.accelerator")) in ("auto", "cuda", "gpu")
