"""What is recorded at every step of a run: the loss, the length of the path, and whether both are finite."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lmc_lab.runs.checkpoint import TRAJECTORY
from lmc_lab.runs.curve_file import CurveFile
from lmc_lab.runs.status import Diverged


def window(step: int, losses: Sequence[float], path_length: float) -> dict[str, float]:
    """Returns the row of the loss curve for the steps that have these losses, the last of which is `step`."""
    return {"step": step, "train_loss": sum(losses) / len(losses), "path_length": path_length}


class Trajectory(Callback):
    """The loss curve, a mean over each `log_every` steps and over those left at the end, and the path's length in float64.

    Both are in the checkpoints, so a branch goes on from its trunk's values and a killed run from its own. A loss or a weight
    that is NaN or infinite ends the run here, since every loss and every step in parameter space pass by.
    """

    state_key = TRAJECTORY

    def __init__(self, path: Path, *, name: str, log_every: int, last_step: int) -> None:
        self._path = path
        self._name = name
        self._log_every = log_every
        self._last_step = last_step  # of the run
        self._losses: list[float] = []
        self.last_loss: float | None = None
        self.path_length = 0.0
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the curve where this stretch begins."""
        self._curve = CurveFile(self._path, start=trainer.global_step, stop=trainer.max_steps)
        self._step = trainer.global_step
        self._parameters = list(pl_module.parameters())  # a walk over modules takes 50 us
        self._previous = self._theta()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds a step; writes a row at the end of a window, of which a run's last may be shorter than the others.

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
        if trainer.global_step % self._log_every == 0 or trainer.global_step == self._last_step:
            self._log(trainer)

    def _log(self, trainer: Trainer) -> None:
        row = window(trainer.global_step, self._losses, self.path_length)
        self._losses = []
        if self._curve.add(row) and trainer.logger:
            trainer.logger.log_metrics({name: float(value) for name, value in row.items()}, int(row["step"]))

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps; `num_rows` is for those who look whether the curve is whole up to there."""
        return {
            "losses": list(self._losses),
            "last_loss": self.last_loss,
            "path_length": self.path_length,
            "num_rows": self._curve.num_rows(self._step),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what a checkpoint kept."""
        if state_dict:
            self._losses, self.path_length = list(state_dict["losses"]), state_dict["path_length"]
            self.last_loss = state_dict["last_loss"]

    def _theta(self) -> Tensor:
        return torch.cat([parameter.detach().reshape(-1) for parameter in self._parameters])
