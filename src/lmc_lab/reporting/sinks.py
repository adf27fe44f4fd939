"""Weights & Biases, a mirror of what is on disk; the only file that imports it."""

from pathlib import Path

from lightning.pytorch.loggers import Logger

from lmc_lab.runs.experiment import RunName


def wandb_logger(name: RunName, *, project: str, mode: str, output_dir: str) -> Logger:
    """Returns a logger for one run: grouped by mode, its job type trunk or branch."""
    from lightning.pytorch.loggers import WandbLogger

    folder = Path(output_dir).absolute() / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    group = str(name).rpartition("/")[0] if name.seed is not None else str(name)
    return WandbLogger(
        project=project,
        name=str(name),
        group=group,
        job_type=name.job_type,
        save_dir=str(folder),
        offline=mode == "offline",
    )
