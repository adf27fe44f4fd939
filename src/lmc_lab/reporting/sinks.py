"""Weights & Biases, a mirror of what is on disk; the only file that imports it."""

from collections.abc import Mapping
from typing import Any, final

from lightning.pytorch.loggers import Logger, WandbLogger

from lmc_lab.runs.experiment import RunName


@final
class _WandbRun(WandbLogger):
    """A logger whose run ends with its trunk or branch: the next run of this process would go on in it otherwise."""

    def finalize(self, status: str) -> None:
        """Ends the run."""
        super().finalize(status)
        self.experiment.finish(exit_code=0 if status == "success" else 1)


def wandb_logger(name: RunName, *, project: str, mode: str, output_dir: str, config: Mapping[str, Any]) -> Logger:
    """Returns a logger for one run: grouped by mode, its job type trunk or branch, its files below `output_dir`."""
    group = str(name).rpartition("/")[0] if name.seed is not None else str(name)
    return _WandbRun(
        project=project,
        name=str(name),
        group=group,
        job_type=name.job_type,
        save_dir=output_dir,
        offline=mode == "offline",
        config=dict(config),
    )
