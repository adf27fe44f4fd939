"""The ways of several runs in parameter space, followed where they are trained: nothing is read from a GPU in a step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lmc_lab.runs.checkpoint import TRAJECTORY
from lmc_lab.runs.copies_module import CopiesModule
from lmc_lab.runs.curve_file import CurveFile
from lmc_lab.runs.trajectory import window


@dataclass(frozen=True)
class Divergence:
    """Where a run ceased to be numbers."""

    step: int
    last_finite_loss: float | None


class Trajectories(Callback):
    """What `Trajectory` does for one run, for the n runs of a program, whose states are `Trajectory`'s.

    The curves are written every `log_every` steps and at a run's end; only then, and before a state is saved, is seen which
    runs have diverged, and at which step. The stretch ends there, and the program goes on without them.

    Args:
        curves: of the runs.
        log_every: steps whose mean loss makes one row.
        last_steps: at which the runs end.
    """

    def __init__(self, curves: Sequence[CurveFile], *, log_every: int, last_steps: Sequence[int]) -> None:
        self._curves = curves
        self._log_every = log_every
        self._last_steps = last_steps
        self._restored: list[Mapping[str, Any]] = [{} for _ in curves]
        self.diverged: dict[int, Divergence] = {}  # by the run's index among the curves

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts what is known of the runs where they are trained."""
        assert isinstance(pl_module, CopiesModule)
        device, count = pl_module.device, len(self._curves)
        self._leaves = list(pl_module.leaves)
        self._previous = self._thetas()
        self._earlier = [list(state.get("losses", [])) for state in self._restored]  # of this row, before this program
        self._losses = torch.zeros(self._log_every, count, dtype=torch.float64, device=device)
        self._count = 0
        lengths = [state.get("path_length", 0.0) for state in self._restored]
        self._path_lengths = torch.tensor(lengths, dtype=torch.float64, device=device)
        last = [state.get("last_loss") for state in self._restored]
        self._last = torch.tensor(
            [torch.nan if loss is None else loss for loss in last], dtype=torch.float64, device=device
        )
        self._bad_at = torch.full((count,), -1, device=device)
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds a step; writes a row of each curve at the end of a window."""
        assert isinstance(pl_module, CopiesModule)
        self._step = trainer.global_step
        thetas = self._thetas()
        self._path_lengths += torch.linalg.vector_norm(thetas - self._previous, dim=1, dtype=torch.float64)
        self._previous = thetas
        losses = pl_module.losses.double()
        self._losses[self._count] = losses
        self._count += 1
        is_new = (losses + self._path_lengths).isfinite().logical_not() & (self._bad_at < 0)
        self._bad_at = torch.where(is_new, self._step, self._bad_at)
        self._last = torch.where(
            losses.isfinite() & (self._bad_at < 0) | is_new & losses.isfinite(), losses, self._last
        )
        if self._step % self._log_every == 0 or self._step in self._last_steps:
            self.look_for_divergence(trainer)
            self._write_rows()

    def state_of(self, member: int) -> dict[str, Any]:
        """Returns what a checkpoint keeps of one run: the state of a `Trajectory`."""
        return {
            "losses": [] if self._step == self._last_steps[member] else self._window_of(member),
            "last_loss": _number(self._last[member]),
            "path_length": float(self._path_lengths[member]),
            "num_rows": self._curves[member].num_rows(self._step),
        }

    def state_dict(self) -> dict[str, Any]:
        """Returns the states of all runs, as a program's checkpoint has them."""
        return {"members": [{TRAJECTORY: self.state_of(i)} for i in range(len(self._curves))]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what checkpoints of the runs kept."""
        self._restored = [state.get(TRAJECTORY, {}) for state in state_dict["members"]]

    def look_for_divergence(self, trainer: Trainer) -> None:
        """Finds out who has diverged, and ends the program's stretch if anybody has."""
        for i, step in enumerate(self._bad_at.tolist()):
            if step >= 0:
                self.diverged[i] = Divergence(step, _number(self._last[i]))
        if self.diverged:
            trainer.should_stop = True

    def _write_rows(self) -> None:
        """Writes the rows of the windows that end here, but for those who have diverged."""
        is_of_all = self._step % self._log_every == 0
        columns = self._losses[: self._count].T.tolist()
        for i, (curve, path_length) in enumerate(zip(self._curves, self._path_lengths.tolist(), strict=True)):
            if (is_of_all or self._step == self._last_steps[i]) and i not in self.diverged:
                curve.add(window(self._step, [*self._earlier[i], *columns[i]], path_length))
        if is_of_all:
            self._earlier, self._count = [[] for _ in self._curves], 0

    def _window_of(self, member: int) -> list[float]:
        """Returns the losses of a run since its last row."""
        return [*self._earlier[member], *self._losses[: self._count, member].tolist()]

    def _thetas(self) -> Tensor:
        """Returns all parameters of each run, (n, D)."""
        return torch.cat([leaf.detach().reshape(len(leaf), -1) for leaf in self._leaves], dim=1)


def _number(value: Tensor) -> float | None:
    return None if value.isnan() else float(value)
