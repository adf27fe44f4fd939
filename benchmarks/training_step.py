"""What a training step of the suite costs beside a bare loop that does the same arithmetic."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from benchmarks import suite
from benchmarks.common import Options, Row, alternate, own_process, slower
from lmc_lab.process import prepare_process
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.fit import fit
from lmc_lab.runs.paths import RunPaths
from lmc_lab.runs.run import Run
from lmc_lab.runs.stretch import Stretch
from lmc_lab.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Case:
    """A task, the steps of a round, and the goal if it has one."""

    name: str
    task: str
    num_steps: int
    num_quick_steps: int
    repeats: int
    num_warm_up: int = 10
    at_most: float | None = None


_CASES = [
    Case(name="LeNet-5", task="lenet_m", num_steps=40, num_quick_steps=20, repeats=9, at_most=1.1),
    Case(name="MNIST-1D", task="mnist1d", num_steps=200, num_quick_steps=100, repeats=8),
    Case(name="ResNet-20", task="resnet20", num_steps=4, num_quick_steps=1, repeats=2, num_warm_up=1),
]


def measure(options: Options) -> list[Row]:
    """Returns a row for each task."""
    return [_row(case, options) for case in _CASES]


def _row(case: Case, options: Options) -> Row:
    batch_size = _experiment(case.task).task.batch_size
    steps = (case.num_warm_up, options.pick(case.num_steps, case.num_quick_steps))
    with own_process(prepare_process) as ours_apart, own_process() as theirs_apart:
        ours, theirs = alternate(
            lambda: ours_apart.submit(_suite_step, case.task, *steps).result(),
            lambda: theirs_apart.submit(_bare_step, case.task, *steps).result(),
            repeats=options.pick(case.repeats, 2),
        )
    note = f"batch of {batch_size}, one thread and one process each, {steps[1]} steps a round, {len(ours)} rounds"
    return slower(f"training step, {case.name}, against a bare loop", ours, theirs, at_most=case.at_most, note=note)


@cache
def _experiment(task: str) -> Experiment:
    experiment = suite.build(f"task={task}")
    suite.decode(experiment.task)
    return experiment


def _suite_step(task: str, num_warm_up: int, num_steps: int) -> float:
    return suite_step(_experiment(task), num_warm_up, num_steps)


def _bare_step(task: str, num_warm_up: int, num_steps: int) -> float:
    return bare_step(_experiment(task).task, num_warm_up, num_steps)


def suite_step(experiment: Experiment, num_warm_up: int, num_steps: int) -> float:
    """Returns the seconds of a step as a trunk is trained: Trainer, callbacks, a line of csv every 50 steps."""
    stop = num_warm_up + num_steps
    clock = _Clock()
    clocked = replace(experiment.task, make_callbacks=lambda: [clock])
    with TemporaryDirectory() as path:
        run = Run(replace(experiment, task=clocked, paths=RunPaths(Path(path))))
        run.folder.path.mkdir(parents=True)
        # The clock comes before what saves: saving is not part of a step.
        fit(run, Stretch(0, stop, None), save_at={0, stop})
    return (clock.times[stop] - clock.times[num_warm_up]) / num_steps


class _Clock(Callback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.times: dict[int, float] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes the time."""
        self.times[trainer.global_step] = time.perf_counter()


def bare_step(task: Task, num_warm_up: int, num_steps: int) -> float:
    """Returns the seconds of a step of the loop that one would write by hand, on the same tensors in memory."""
    module = task.initialise(0)
    model, optimizer = module.model.train(), module.configure_optimizers()
    batches = _batches(task)

    def train(count: int) -> None:
        for inputs, targets in islice(batches, count):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    train(num_warm_up)
    start = time.perf_counter()
    train(num_steps)
    return (time.perf_counter() - start) / num_steps


def _batches(task: Task) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields shuffled batches for ever, in channels-last memory where they are images."""
    examples = task.dataset.train
    while True:
        for indices in torch.split(torch.randperm(len(examples)), task.batch_size)[: task.steps_per_epoch]:
            yield examples.batch(indices)
