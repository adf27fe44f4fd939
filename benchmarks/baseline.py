"""The script that people would write instead: Lightning, a torchvision DataLoader, one load_state_dict a hull point."""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.common import Options, wall
from benchmarks.suite import shell
from lmc_lab.errors import UserError

_BATCH_SIZE = 128  # the script's


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The work of one mode: a trunk of k steps, P branches to T, J hull samples on N examples."""

    num_branches: int = 4
    split_step: int = 100
    num_steps: int = 500
    num_samples: int = 8
    num_examples: int = 10_000

    def __str__(self) -> str:
        return (
            f"LeNet-5 with momentum, P={self.num_branches}, k={self.split_step}, T={self.num_steps}, "
            f"J={self.num_samples}, {self.num_examples:,} examples"
        )

    @property
    def num_training_steps(self) -> int:
        """Returns the steps of the trunk and all branches."""
        return self.split_step + self.num_branches * (self.num_steps - self.split_step)

    @property
    def num_evaluations(self) -> int:
        """Returns the examples of all evaluated points: endpoints, hull points and their controls."""
        return (self.num_branches + 2 * self.num_samples) * self.num_examples


@dataclass(frozen=True)
class Times:
    """What the script says of a run, in seconds; importing its libraries and decoding the data are not in it."""

    total: float
    per_step: float
    per_evaluation: float  # of one example at one point


@dataclass(frozen=True)
class Baseline:
    """The script on the first N examples, which its data file holds."""

    script: Path
    data: Path
    num_workers: int

    def run(self, cell: Cell) -> Times:
        """Returns the script's own times for `cell`."""
        settings = {
            "data": self.data,
            "branches": cell.num_branches,
            "split": cell.split_step,
            "steps": cell.num_steps,
            "samples": cell.num_samples,
            "examples": cell.num_examples,
            "workers": self.num_workers,
        }
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        found = json.loads(shell(shlex.join([sys.executable, str(self.script), *arguments])).splitlines()[-1])
        return Times(found["total_s"], found["ms_per_step"] / 1e3, found["us_per_example_point"] / 1e6)

    def start_up(self) -> float:
        """Returns the seconds until the script has its libraries: it reads its arguments after importing them."""
        return wall(lambda: shell(shlex.join([sys.executable, str(self.script), "--help"])))


def trial_cell(num_examples: int) -> Cell:
    """Returns work from which the script's time a step and an evaluation can be read.

    Its loader starts its workers as often a step as in a cell: once an epoch.
    """
    epoch = num_examples // _BATCH_SIZE
    return Cell(num_branches=2, split_step=1, num_steps=1 + epoch, num_samples=1, num_examples=num_examples)


def evaluation_cell(num_examples: int) -> Cell:
    """Returns work from which the script's time an evaluation can be read."""
    return replace(trial_cell(num_examples), num_steps=2)


def best_baseline(options: Options, num_examples: int) -> tuple[Baseline, str]:
    """Returns the script with the number of loader processes, 0 or 1, that is faster for a cell, and a remark on that.

    Its data are the first `num_examples` of the training set. One trial serves all benchmarks that share a folder.

    Raises:
        UserError: there is no such script, or no parquet file.
    """
    if not options.baseline.exists():
        raise UserError("expected the Lightning script to compare with, found none; give its path with --baseline")
    data = _first_rows(options.folder / f"train-{num_examples}.parquet", num_examples)
    candidates = [Baseline(options.baseline, data, num_workers) for num_workers in (0, 1)]
    predicted = _predicted_seconds(options.folder / f"trial-{num_examples}.json", candidates, num_examples)
    best, other = sorted((0, 1), key=predicted.__getitem__)
    remark = f"--workers {best}: {predicted[other] / predicted[best]:.2f}x faster than {other} in a trial"
    return candidates[best], remark


def _predicted_seconds(path: Path, candidates: Sequence[Baseline], num_examples: int) -> list[float]:
    """Returns what a cell would take each candidate, by the trial that `path` keeps."""
    if not path.exists():
        work = Cell(num_examples=num_examples)
        trials = [candidate.run(trial_cell(num_examples)) for candidate in candidates]
        predicted = [
            work.num_training_steps * times.per_step + work.num_evaluations * times.per_evaluation for times in trials
        ]
        path.write_text(json.dumps(predicted))
    found: list[float] = json.loads(path.read_text())
    return found


def _first_rows(path: Path, num_rows: int) -> Path:
    """Writes the first rows of the training set's parquet file to `path`, so that both sides have the same examples."""
    source = sorted((Path(os.environ.get("LMC_DATA_DIR", "data")) / "cifar10").glob("train-*.parquet"))
    if not source:
        raise UserError("expected cifar10/train-*.parquet for the script to compare with, found none; set LMC_DATA_DIR")
    if not path.exists():
        pq.write_table(pq.read_table(source[0]).slice(0, num_rows), path)
    return path
