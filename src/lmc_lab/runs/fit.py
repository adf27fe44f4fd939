"""One stretch of a run, trained by Lightning; the one place where a Trainer is made."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import yaml
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, GradientAccumulationScheduler, StochasticWeightAveraging
from lightning.pytorch.loggers import Logger
from torch import Tensor

from lmc_lab import termination
from lmc_lab.errors import UserError
from lmc_lab.files import write_text
from lmc_lab.runs.callbacks import CallbackGroup, Heartbeat, LastEvaluation, OptimizerLayout, StepNoise
from lmc_lab.runs.checkpoint import State
from lmc_lab.runs.checkpoint_io import SafetensorsIO
from lmc_lab.runs.module import TrainingModule
from lmc_lab.runs.profiler import without_profiler
from lmc_lab.runs.run import Run
from lmc_lab.runs.saving import ResumeCheckpoint, SplitCheckpoint, UnfinishedCheckpoint
from lmc_lab.runs.status import Diverged, Stopped
from lmc_lab.runs.stretch import Stretch
from lmc_lab.runs.trajectory import Trajectory
from lmc_lab.tasks.precision import precision_of
from lmc_lab.tasks.supervised import SupervisedTask
from lmc_lab.tasks.task import Task

# Callbacks of Lightning's that have no meaning here, and what has.
_REFUSED_CALLBACKS: dict[type[Callback], str] = {
    StochasticWeightAveraging: "which counts epochs, of which there is one endless one here; use "
    "lightning.pytorch.callbacks.EMAWeightAveraging or WeightAveraging",
    GradientAccumulationScheduler: "which takes several batches a step; raise task.batch_size",
    Checkpoint: "which writes checkpoints of its own; use run.save_steps",
}


@dataclass(frozen=True)
class Trained:
    """The task after a stretch, as its callbacks left it, and the length of its path from W_0."""

    module: SupervisedTask
    path_length: float


def fit(
    run: Run,
    stretch: Stretch,
    *,
    save_at: Collection[int] = (),
    on_saved: Callable[[int], None] = lambda step: None,
    begun: Callable[[State], State] = lambda state: state,
    is_resumable: bool = True,
) -> Trained:
    """Trains one stretch of a trunk or a branch.

    Args:
        run: which is trained.
        stretch: which of its steps.
        save_at: steps whose whole state is kept.
        on_saved: is called with each of them.
        begun: makes of the stretch's checkpoint, which is another run's, the state that this one begins with.
        is_resumable: keep a state to go on from, should this run be ended.

    Raises:
        Stopped: training ended before the stretch did.
        Diverged: a loss, a weight or a buffer is not finite.
    """
    folder, name, task, settings = run.folder, str(run.name), run.task, run.experiment.settings
    write_config(run)
    module = TrainingModule(initialised(run))
    batches = run.batches(stretch.start)
    trajectory = Trajectory(folder.metrics, name=name, log_every=settings.log_every, last_step=run.last_step)
    resume = ResumeCheckpoint(folder, stop=stretch.stop, seconds=settings.resume_seconds)
    logger = run.experiment.make_logger(run.name, run.config)
    trainer = make_trainer(
        run,
        stop=stretch.stop,
        io=SafetensorsIO(data_digest=task.dataset.digest, begun=begun, circumstances=run.unusual_circumstances),
        logger=logger,
        callbacks=[
            *([UnfinishedCheckpoint(folder, stop=stretch.stop)] if is_resumable else []),
            *_callbacks(task),
            CallbackGroup(
                OptimizerLayout(),
                StepNoise(batches.order),
                trajectory,
                SplitCheckpoint(folder, save_at, on_saved),
                *([resume] if is_resumable else []),
                Heartbeat({folder: stretch.stop}, name=name),
                LastEvaluation(run.last_step),
            ),
        ],
    )
    test = task.dataset.test if settings.evaluate_every else None
    try:
        with termination.after_the_step(), products_of(run):
            trainer.fit(module, batches, test.chunks(task.batch_size) if test else None, ckpt_path=stretch.checkpoint)
    finally:
        if logger is not None:
            logger.finalize("success" if trainer.global_step == stretch.stop else "failed")
    _check_end(trainer, module.task, trajectory, name, stretch.stop)
    return Trained(module.task, trajectory.path_length)


def initialised(run: Run) -> SupervisedTask:
    """Returns the task at W_0 in the precision that it is trained in.

    Lightning would convert it later than it loads a checkpoint, whose float64 would be rounded.

    Raises:
        UserError: a weight or a buffer is no number, with which every run would end as diverged.
    """
    module = precision_of(run.task.precision).convert_module(run.task.initialise(run.experiment.trunk_seed))
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise UserError(f"expected tensors in the model's state, found {name}; leave get_extra_state out")
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(
                f"expected finite weights and buffers at W_0, found NaN or infinity in {name}; give a constant, "
                "an attention's mask, say, to register_buffer with persistent=False"
            )
    return module


def make_trainer(
    run: Run, *, stop: int, io: CheckpointIO, callbacks: Sequence[Callback], logger: Logger | None = None
) -> Trainer:
    """Returns the Trainer of a run, or of several of its task, up to step `stop`."""
    task, settings = run.task, run.experiment.settings
    return without_profiler(
        run.experiment.make_trainer(
            max_steps=stop,
            precision=precision_of(task.precision).lightning,
            gradient_clip_val=task.gradient_clip_val,
            gradient_clip_algorithm=task.gradient_clip_algorithm,
            logger=logger or False,
            val_check_interval=settings.evaluate_every,
            check_val_every_n_epoch=None,
            default_root_dir=run.folder.path,  # where Lightning would look for states that its own handler of Slurm saved
            # Not the environment of Slurm, which would answer signals and submit the job again.
            plugins=[LightningEnvironment(), io],
            callbacks=list(callbacks),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    )


def device_of(run: Run) -> torch.device:
    """Returns where a run is trained: its Trainer knows which GPU that is."""
    trainer = run.experiment.make_trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    return torch.device(trainer.strategy.root_device)


def products_of(run: Run) -> AbstractContextManager[None]:
    """Returns the context in which a GPU multiplies as the task says, and the same way each time if that is wanted."""
    return precision_of(run.task.precision).products(deterministic=run.experiment.settings.deterministic)


def write_config(run: Run) -> None:
    """Writes the config of a run into its folder, with the command that trains it."""
    write_text(run.folder.config, f"# {run.command}\n{yaml.safe_dump(run.config, sort_keys=False)}")


def _callbacks(task: Task) -> Iterator[Callback]:
    """Yields the callbacks of the task, which may change the weights.

    Raises:
        UserError: one of them cannot do here what it is for.
    """
    for callback in task.make_callbacks():
        for kind, why in _REFUSED_CALLBACKS.items():
            if isinstance(callback, kind):
                raise UserError(
                    f"expected task.callbacks that work step by step, found {type(callback).__name__}, {why}"
                )
        yield callback


def check_finite(tensors: Iterable[Tensor], name: str, step: int, last_loss: float | None) -> None:
    """Refuses weights or buffers that are no numbers.

    Raises:
        Diverged: one is NaN or infinite.
    """
    if not all(value.isfinite().all() for value in tensors if torch.is_floating_point(value)):
        raise Diverged(name, step, last_loss)


def _check_end(trainer: Trainer, task: SupervisedTask, trajectory: Trajectory, name: str, stop: int) -> None:
    """Refuses what did not come to its end, or came there with something else than numbers.

    Raises:
        Stopped: steps are left.
        Diverged: a weight or a buffer is not finite.
    """
    if trainer.global_step < stop:
        raise Stopped(
            f"expected {name} to train up to step {stop}, found that training ended at step {trainer.global_step}; after "
            "trainer.max_time give the same command again to go on from there, and leave a callback that ends training out of "
            "task.callbacks"
        )
    check_finite(task.state_dict().values(), name, stop, trajectory.last_loss)
