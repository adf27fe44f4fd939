"""Training on a GPU: a step of many models as one program, a step of a bare loop, and whether both are the same."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from benchmarks.common import REPOSITORY, duration
from lmc_lab.compose import build_experiment
from lmc_lab.runs import checkpoint
from lmc_lab.runs.branch import train_from
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.fit import products_of
from lmc_lab.runs.run import Run
from lmc_lab.runs.together import train_together
from lmc_lab.runs.trunk import ensure_split
from lmc_lab.tasks.supervised import only_optimizer

_NUM_WARM_UP = 10  # steps of the bare loop
_FLOAT64 = ["task.precision=64-true", "task.max_steps=20", "task.batch_size=32", "task.data.num_train=256"]


@dataclass(frozen=True)
class Found:
    """What was measured: a text, and the seconds that another figure is made of."""

    text: str
    seconds: float | None = None


@dataclass(frozen=True)
class Steps:
    """How long is trained for a figure: the time of the longer less that of the shorter is that of the steps between."""

    short: int
    long: int


@contextmanager
def experiment(task: str, device: str, overrides: list[str]) -> Iterator[Experiment]:
    """Gives the experiment of a task in a folder of its own; on a GPU it insists on captured steps."""
    where = ["trainer=gpu", "run.capture=true"] if device == "cuda" else ["trainer=cpu"]
    with TemporaryDirectory() as folder, initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        given = [f"task={task}", *where, f"output_dir={folder}", *overrides]
        yield build_experiment(compose("train", given))


def model_step(task: str, device: str, count: int, steps: Steps, overrides: list[str]) -> Found:
    """Returns the time of a step of one of `count` models of one program, Trainer, curves and path lengths included."""
    seconds = {}
    reset_memory(device)
    for stop in (steps.short, steps.short, steps.long):  # the first, which imports and allocates, does not count
        with experiment(task, device, [f"task.max_steps={stop}", *overrides]) as own:
            ensure_split(own, 0)
            runs = [Run(own, 0, seed) for seed in range(count)]
            start = time.perf_counter()
            train_together(runs)
            seconds[stop] = time.perf_counter() - start
    per_step = (seconds[steps.long] - seconds[steps.short]) / (steps.long - steps.short) / count
    return Found(f"{duration(per_step)}{memory(device)}", per_step)


def bare_step(task: str, device: str, num_steps: int, overrides: list[str]) -> Found:
    """Returns the time of a step of a loop that anyone would write: one model, eagerly, data on the device.

    It multiplies as the suite does: in float32 unless the task says TF32, and with the same choice of algorithms.
    """
    with experiment(task, device, overrides) as own:
        run = Run(own)
        module = own.task.initialise(0).to(device)
        batches = [tuple(part.to(device) for part in run.batches(0).at(step)) for step in range(4)]
        optimizer = only_optimizer(module.configure_optimizers())
        with products_of(run):
            for step in range(_NUM_WARM_UP + num_steps):
                if step == _NUM_WARM_UP:
                    synchronise(device)
                    start = time.perf_counter()
                optimizer.zero_grad()
                module.training_loss(batches[step % 4]).backward()  # type: ignore[no-untyped-call,arg-type]
                optimizer.step()
            synchronise(device)
        seconds = (time.perf_counter() - start) / num_steps
        return Found(duration(seconds), seconds)


def difference(device: str) -> Found:
    """Returns the largest difference of a weight of three branches together from the same branches alone, on the device."""
    with experiment("lenet_m", device, _FLOAT64) as own, TemporaryDirectory() as other:
        together = _trained(own)
        alone = replace(own, paths=replace(own.paths, root=Path(other) / own.paths.root.name))
        ensure_split(alone, 0)
        worst = 0.0
        for seed, state in enumerate(together):
            expected = checkpoint.load(train_from(alone, alone.split(0), seed).endpoint).state["model"]
            worst = max(worst, *(float((state[name] - value).abs().max()) for name, value in expected.items()))
        return Found(f"{worst:.1e}")


def num_changed(device: str, overrides: list[str]) -> Found:
    """Returns how many numbers of three endpoints change when the same program is trained again."""
    found = []
    for _ in range(2):
        with experiment("lenet_m", device, ["task.max_steps=40", *overrides]) as own:
            found.append(_trained(own))
    pairs = zip(*found, strict=True)
    return Found(str(sum(int((ours[name] != theirs[name]).sum()) for ours, theirs in pairs for name in ours)))


def _trained(own: Experiment) -> list[dict[str, Tensor]]:
    """Returns the endpoints of three branches that are trained together."""
    ensure_split(own, 0)
    runs = [Run(own, 0, seed) for seed in range(3)]
    train_together(runs)
    return [checkpoint.load(run.folder.endpoint).state["model"] for run in runs]


def synchronise(device: str) -> None:
    """Waits for the GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def reset_memory(device: str) -> None:
    """Begins to look for the most memory in use."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def memory(device: str) -> str:
    """Returns the most memory in use since `reset_memory`, as a row says it."""
    return f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GB" if device == "cuda" else ""
