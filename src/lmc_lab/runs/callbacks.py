"""What happens beside the training loop: states at exact steps, states to resume from, the loss curve, the heartbeat."""

import multiprocessing
import time
from bisect import bisect_right
from collections.abc import Callable, Collection
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from tqdm import tqdm

from lmc_lab.data.order import DataOrder
from lmc_lab.runs.curve import append_row, read_rows, write_rows
from lmc_lab.runs.layout import RunFolder
from lmc_lab.runs.status import Diverged, write_status


class Together(Callback):
    """Several callbacks as one, in their order.

    Lightning enters a profiling context for every callback at each of six hooks of a step; with seven callbacks that
    took 0.4 ms a step, a quarter of a step of the MNIST-1D net. Only the hooks below are passed on.
    """

    def __init__(self, *parts: Callback) -> None:
        self._parts = parts

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Passes it on."""
        for part in self._parts:
            part.on_train_start(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Passes it on."""
        for part in self._parts:
            part.on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Passes it on."""
        for part in self._parts:
            part.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Passes it on."""
        for part in self._parts:
            part.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Returns the states of all, by class."""
        return {type(part).__name__: part.state_dict() for part in self._parts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Gives each its state."""
        for part in self._parts:
            part.load_state_dict(state_dict.get(type(part).__name__, {}))


class StepNoise(Callback):
    """Seeds everything random in a step (dropout) from the data order: all SGD noise has one source, and resumes exactly."""

    def __init__(self, order: DataOrder) -> None:
        self._order = order

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seeds torch for the step that begins."""
        seed_generators(self._order.noise_seed(trainer.global_step))


def seed_generators(seed: int) -> None:
    """Does what `torch.manual_seed` does, which formats a stack trace for every device that is not there (0.9 ms)."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


class Trajectory(Callback):
    """The loss curve, a mean over each `log_every` steps, and the length of the path from W_0, summed in float64.

    Both live in the checkpoints, so a branch goes on from its trunk's values and a killed run from its own. Who looks at
    every loss and every step in parameter space is the one to see that they are no numbers any more.
    """

    def __init__(self, path: Path, *, name: str, log_every: int) -> None:
        self._path = path
        self._name = name
        self._log_every = log_every
        self._losses: list[float] = []
        self.last_loss: float | None = None
        self.path_length = 0.0
        self._covered = 0
        self._step = 0
        self._logged: list[int] = []  # the steps of the rows in the file

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Cuts rows that a killed run wrote beyond the state from which this one goes on."""
        rows = read_rows(self._path)
        self._covered = max((int(row["step"]) for row in rows), default=0)
        if trainer.max_steps > self._covered or trainer.max_steps < 0:
            self._covered = trainer.global_step
            rows = [row for row in rows if int(row["step"]) <= trainer.global_step]
            self._checksum = write_rows(self._path, rows)
        self._logged = [int(row["step"]) for row in rows]
        self._step = trainer.global_step
        self._parameters = list(pl_module.parameters())  # a walk over modules takes 50 us
        self._previous = self._theta()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds a step; writes a row at the end of a window.

        Raises:
            Diverged: the loss, or a weight and with it the length of the path, is NaN or infinite.
        """
        self._step = trainer.global_step
        theta = self._theta()
        self.path_length += float(torch.linalg.vector_norm(theta - self._previous, dtype=torch.float64))
        self._previous = theta
        loss = float(outputs["loss"])
        if not isfinite(loss + self.path_length):
            raise Diverged(self._name, trainer.global_step, loss if isfinite(loss) else self.last_loss)
        self.last_loss = loss
        self._losses.append(loss)
        if trainer.global_step % self._log_every == 0:
            self._log(trainer)

    def _log(self, trainer: Trainer) -> None:
        row = {
            "step": trainer.global_step,
            "train_loss": sum(self._losses) / len(self._losses),
            "path_length": self.path_length,
        }
        self._losses = []
        if trainer.global_step <= self._covered:  # a stretch trained before, only to save a state inside it
            return
        self._checksum = append_row(self._path, row.values(), self._checksum)
        self._logged.append(trainer.global_step)
        if trainer.logger:
            trainer.logger.log_metrics({name: float(value) for name, value in row.items()}, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps; `num_rows` is for those who look whether the curve is whole up to there."""
        return {
            "losses": list(self._losses),
            "last_loss": self.last_loss,
            "path_length": self.path_length,
            "num_rows": bisect_right(self._logged, self._step),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what a checkpoint kept."""
        if state_dict:
            self._losses, self.path_length = list(state_dict["losses"]), state_dict["path_length"]
            self.last_loss = state_dict["last_loss"]

    def _theta(self) -> Tensor:
        return torch.cat([parameter.detach().reshape(-1) for parameter in self._parameters])


class SplitCheckpoint(Callback):
    """Saves the whole training state at exact steps, step 0 included, and tells `on_saved` of each."""

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
    """Saves a state to resume from every `seconds`; SIGKILL gives no time to do it then."""

    def __init__(self, folder: RunFolder, *, stop: int, seconds: float) -> None:
        self._folder = folder
        self._stop = stop
        self._seconds = seconds
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves if it is time; not at the end, from where Lightning would not go on to what callbacks do there."""
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


class Heartbeat(Callback):
    """Says how far the run is: in status.json for those who watch, as a progress line for who sits at the terminal."""

    def __init__(self, folder: RunFolder, *, name: str, stop: int, seconds: float = 2.0) -> None:
        self._folder = folder
        self._name = name
        self._stop = stop
        self._seconds = seconds
        self._last = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the progress line, unless this is a worker process or no terminal."""
        in_worker = multiprocessing.parent_process() is not None
        self._bar = tqdm(
            total=self._stop,
            initial=trainer.global_step,
            desc=self._name,
            unit="step",
            disable=True if in_worker else None,
            leave=False,
        )
        self._start = trainer.global_step
        self._beat(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Beats if it is time."""
        if time.monotonic() - self._last >= self._seconds:
            self._beat(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the progress line."""
        self._bar.close()

    def _beat(self, trainer: Trainer) -> None:
        self._last = time.monotonic()
        self._bar.update(trainer.global_step - self._bar.n)
        write_status(self._folder, state="running", start=self._start, step=trainer.global_step, stop=self._stop)


class OptimizerLayout(Callback):
    """Gives restored optimizer state the memory layout of its parameters.

    Checkpoints are contiguous; a contiguous momentum beside a channels-last weight would take the slow path of every step.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copies state of a parameter's shape into the parameter's layout."""
        for optimizer in trainer.optimizers:
            for parameter, state in optimizer.state.items():
                for name, value in state.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
