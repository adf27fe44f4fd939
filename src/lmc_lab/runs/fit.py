import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import yaml
from lightning.pytorch import Callback
from torch import nn

from lmc_lab.data.order import DataOrder, StepBatches
from lmc_lab.files import write_text
from lmc_lab.process import keep_freed_memory
from lmc_lab.runs.callbacks import (
    Heartbeat,
    OptimizerLayout,
    ResumeCheckpoint,
    StepNoise,
    Together,
    Trajectory,
)
from lmc_lab.runs.checkpoint_io import SafetensorsIO
from lmc_lab.runs.experiment import Experiment, RunName
from lmc_lab.runs.layout import RunFolder
from lmc_lab.runs.module import TrainingModule
from lmc_lab.runs.profiler import without_profiler


@dataclass(frozen=True)
class Stretch:
    """Steps `start` to `stop` of a run, from the state in `checkpoint` (None: from W_0)."""

    start: int
    stop: int
    checkpoint: Path | None


@dataclass(frozen=True)
class Trained:
    """The task's module after a stretch and the length of its path from W_0."""

    module: nn.Module
    path_length: float


def fit(
    experiment: Experiment,
    folder: RunFolder,
    name: RunName,
    order: DataOrder,
    stretch: Stretch,
    *,
    callbacks: Sequence[Callback] = (),
    carry_optimizer_state: bool = True,
    is_resumable: bool = True,
) -> Trained:
    """Trains one stretch of a trunk or a branch with Lightning; the one place where a Trainer is made.

    `callbacks` see each step after its place in the trajectory is known.
    """
    keep_freed_memory()
    _quiet()
    write_text(folder.config, yaml.safe_dump(dict(experiment.config), sort_keys=False))
    task, settings = experiment.task, experiment.settings
    module = TrainingModule(task.initialise(experiment.trunk_seed))
    trajectory = Trajectory(folder.metrics, log_every=settings.log_every)
    logger = experiment.make_logger(name)
    trainer = without_profiler(
        experiment.make_trainer(
            max_steps=stretch.stop,
            precision=task.precision,
            logger=logger or False,
            val_check_interval=settings.evaluate_every,
            check_val_every_n_epoch=None,
            plugins=[SafetensorsIO(data_digest=task.dataset.digest, carry_optimizer_state=carry_optimizer_state)],
            callbacks=Together(
                OptimizerLayout(),
                StepNoise(order),
                trajectory,
                *callbacks,
                ResumeCheckpoint(folder, seconds=settings.resume_seconds if is_resumable else inf),
                Heartbeat(folder, name=str(name), stop=stretch.stop),
            ),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    )
    batches = StepBatches(task.dataset.train, order, stretch.start, task.dataset.augment)
    test = task.dataset.test if settings.evaluate_every else None
    try:
        trainer.fit(module, batches, test.chunks(task.batch_size) if test else None, ckpt_path=stretch.checkpoint)
    finally:
        if logger is not None:
            logger.finalize("success" if trainer.global_step == stretch.stop else "failed")
    return Trained(module.task, trajectory.path_length)


def _quiet() -> None:
    """Silences what Lightning says on every start, and its advice about loaders and devices that does not apply here."""
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
