"""What happens beside the training loop: the noise of a step, memory layouts, the heartbeat; several callbacks as one."""

import multiprocessing
import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from lmc_lab.data.order import DataOrder
from lmc_lab.generators import seed_generators
from lmc_lab.runs.checkpoint import CALLBACK_GROUP
from lmc_lab.runs.paths import RunFolder
from lmc_lab.runs.status import write_status


class CallbackGroup(Callback):
    """Several callbacks as one, in their order.

    Lightning enters a profiling context for every callback at each of six hooks of a step; with seven callbacks that
    took 0.4 ms a step, a quarter of a step of the MNIST-1D net. Only the hooks below are passed on.

    Raises:
        TypeError: one of them has another hook.
    """

    state_key = CALLBACK_GROUP

    def __init__(self, *parts: Callback) -> None:
        for part in parts:
            if missed := _hooks_not_passed_on(part):
                raise TypeError(
                    f"expected callbacks with hooks that CallbackGroup passes on, found {type(part).__name__} with "
                    f"{', '.join(missed)}; pass it on there, or give the callback to the Trainer itself"
                )
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

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Passes it on."""
        for part in self._parts:
            part.on_exception(trainer, pl_module, exception)

    def state_dict(self) -> dict[str, Any]:
        """Returns the states of all, by their keys."""
        return {part.state_key: part.state_dict() for part in self._parts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Gives each its state."""
        for part in self._parts:
            part.load_state_dict(state_dict.get(part.state_key, {}))


def _hooks_not_passed_on(part: Callback) -> list[str]:
    """Returns what a callback has of its own and Lightning would call, and a group does not."""
    names = [name for name in vars(Callback) if not name.startswith("_")]
    return [name for name in names if _has_own(type(part), name) and not _has_own(CallbackGroup, name)]


def _has_own(kind: type[Callback], name: str) -> bool:
    return getattr(kind, name) is not getattr(Callback, name)


class StepNoise(Callback):
    """Seeds everything random in a step (dropout) from the data order: all SGD noise has one source, and resumes exactly."""

    def __init__(self, order: DataOrder) -> None:
        self._order = order

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seeds what the step that begins may draw from."""
        seed_generators(self._order.noise_seed(trainer.global_step))


class Heartbeat(Callback):
    """Says how far the run is: in status.json for those who watch, as a progress line for who sits at the terminal."""

    def __init__(self, stops: Mapping[RunFolder, int], *, name: str, seconds: float = 2.0) -> None:
        self._stops = stops  # of the runs that are trained
        self._name = name
        self._seconds = seconds * max(1.0, len(stops) / 50)  # a file takes a millisecond
        self._last = 0.0
        self._bar = tqdm(disable=True)  # until training starts

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the progress line, unless this is a worker process or no terminal."""
        in_worker = multiprocessing.parent_process() is not None
        self._bar = tqdm(
            total=max(self._stops.values()),
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

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Ends the progress line, since another run may follow."""
        self._bar.close()

    def _beat(self, trainer: Trainer) -> None:
        self._last = time.monotonic()
        self._bar.update(trainer.global_step - self._bar.n)
        for folder, stop in self._stops.items():
            write_status(folder, status="running", start=self._start, step=trainer.global_step, stop=stop)


class LastEvaluation(Callback):
    """Has Lightning evaluate after a run's last step, which may be no multiple of ``run.evaluate_every``."""

    def __init__(self, last_step: int) -> None:
        self._last_step = last_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Says that training is to stop, as it does here: Lightning evaluates before that, once."""
        if trainer.global_step == self._last_step:
            trainer.should_stop = True


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
