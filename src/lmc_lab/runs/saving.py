"""When a run saves its state: at exact steps, every few minutes, and where it ends early."""

import time
from collections.abc import Callable, Collection
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lmc_lab.runs.paths import RunFolder


class SplitCheckpoint(Callback):
    """Saves the whole training state at exact steps, step 0 included, and calls `on_saved` with each."""

    def __init__(
        self, folder: RunFolder, steps: Collection[int], on_saved: Callable[[int], None] = lambda step: None
    ) -> None:
        self._folder = folder
        self._steps = frozenset(steps)
        self._on_saved = on_saved

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves step 0."""
        if trainer.global_step == 0:
            self._save(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves any other step."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        step = trainer.global_step
        if step in self._steps and step not in self._folder.saved_steps():
            trainer.save_checkpoint(self._folder.step(step))
            self._on_saved(step)


class ResumeCheckpoint(Callback):
    """Saves a state to resume from every `seconds`, since SIGKILL leaves no time to save one."""

    def __init__(self, folder: RunFolder, *, stop: int, seconds: float) -> None:
        self._folder = folder
        self._stop = stop
        self._seconds = seconds
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves if it is time; not after the last step, since a run resumed from there would never call `on_train_end`."""
        if time.monotonic() - self._last >= self._seconds and trainer.global_step < self._stop:
            trainer.save_checkpoint(self._folder.resume)
            self._last = time.monotonic()


class UnfinishedCheckpoint(Callback):
    """Saves a state to resume from when training ends before `stop`: by a limit of time, by a callback, by SIGTERM.

    It must come before the callbacks of a task, which may exchange the weights at the end.
    """

    def __init__(self, folder: RunFolder, *, stop: int) -> None:
        self._folder = folder
        self._stop = stop

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves if steps are left."""
        if trainer.global_step < self._stop:
            trainer.save_checkpoint(self._folder.resume)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Saves after SIGTERM, of which Lightning makes an exception between two steps."""
        if isinstance(exception, SIGTERMException) and trainer.global_step < self._stop:
            trainer.save_checkpoint(self._folder.resume)
