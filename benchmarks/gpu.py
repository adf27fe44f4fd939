"""Branches together on a GPU, beside a bare loop of one model: ``python -m benchmarks.gpu`` measures for docs/gpu.md.

It needs CIFAR-10 in LMC_DATA_DIR, takes at most eight minutes, after which what is left is not measured, and runs from
the source folder with whatever torch is there. ``--device cpu --quick`` shows that it works.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import gpu_points, gpu_studies
from benchmarks.common import REPOSITORY
from benchmarks.gpu_training import Found, Steps, bare_step, difference, model_step, num_changed
from lmc_lab.process import prepare_process

_PAGE = REPOSITORY / "docs" / "gpu.md"
_HEADING = "## Measured"
_SECONDS = 480
_FEW = ["task.batch_size=8", "task.data.num_train=64"]  # for a quick run


@dataclass(frozen=True)
class Row:
    """One line of the page; a figure that was not measured says why."""

    what: str
    found: str
    goal: str = ""

    def __str__(self) -> str:
        """Returns it as a line of a table."""
        return f"| {self.what} | {self.found} | {self.goal} |"


@dataclass(frozen=True)
class Run:
    """Where is measured, how much, and until when."""

    device: str
    is_quick: bool
    ends: float

    @property
    def seconds_left(self) -> float:
        """The time that is left."""
        return self.ends - time.monotonic()

    @property
    def small(self) -> list[str]:
        """The overrides of a quick run."""
        return _FEW if self.is_quick else []

    def found(self, measure: Callable[[], Found]) -> Found:
        """Returns what was measured, or why it was not: one figure that cannot be had does not cost the others."""
        if self.seconds_left <= 0:
            return Found("not measured (no time was left)")
        try:
            return measure()
        except Exception as error:
            return Found(f"not measured ({type(error).__name__}: {' '.join(str(error).split())[:150]})")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all works")
    parser.add_argument("--output", type=Path, help="the page to write; docs/gpu.md for a whole run on a GPU")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("expected a GPU, found none; add --device cpu --quick to see that it works")
    prepare_process()
    rows = []
    with TemporaryDirectory() as folder:
        os.environ.setdefault("LMC_CACHE_DIR", folder)  # data are decoded once, and not for each figure
        for row in rows_of(Run(given.device, given.quick, time.monotonic() + _SECONDS)):
            print(row, flush=True)
            rows.append(row)
    is_whole = given.device == "cuda" and not given.quick
    if output := given.output or (_PAGE if is_whole else None):
        kept = _PAGE.read_text().partition(_HEADING)[0]
        output.write_text(kept + _measured(rows, given.device))


def rows_of(run: Run) -> Iterator[Row]:
    """Yields all rows: first what must be equal, then the goals, the longest at the end."""
    yield from _equal(run)
    yield from _lenet(run)
    yield from _resnet(run)
    yield from _points(run)
    yield from _studies(run)


def _equal(run: Run) -> Iterator[Row]:
    checks: dict[str, tuple[Callable[[], Found], str]] = {
        "three branches, float64, 20 steps: together less alone": (partial(difference, run.device), "1e-12"),
        "the same program twice: numbers that changed": (partial(num_changed, run.device, run.small), "0"),
        "a hull of equal endpoints: p_conv": (partial(gpu_points.of_equal_endpoints, run.device), "0"),
        "the losses of 8 points, less those of the CPU": (partial(gpu_points.beside_cpu, run.device), "1e-7"),
    }
    for what, (measure, goal) in checks.items():
        yield Row(f"LeNet-5 with momentum, {what}", run.found(measure).text, goal)


def _lenet(run: Run) -> Iterator[Row]:
    steps = Steps(4, 8) if run.is_quick else Steps(200, 1200)
    bare = run.found(partial(bare_step, "lenet_m", run.device, steps.long - steps.short, run.small))
    yield Row("LeNet-5 with momentum, a bare eager loop of one model, a step", bare.text)
    for count in (2,) if run.is_quick else (1, 5, 20, 100, 300):
        goal = {20: "<= .13 ms", 300: "<= .15 ms, under 10 GB"}.get(count, "")
        many = Steps(50, 250) if count >= 100 else steps
        what = f"LeNet-5 with momentum, P = {count}"
        found = run.found(partial(model_step, "lenet_m", run.device, count, many, run.small))
        yield Row(f"{what}, a model-step through the suite", found.text, goal)
        if bare.seconds and found.seconds:
            ratio = f"{bare.seconds / found.seconds:.1f}"
            yield Row(f"{what}, times as fast as the loop", ratio, ">= 15" if count == 20 else "")
        if count in (2, 20, 300):
            tf32 = ["task.precision=tf32", *run.small]
            found = run.found(partial(model_step, "lenet_m", run.device, count, many, tf32))
            yield Row(f"{what}, the same in TF32", found.text)


def _resnet(run: Run) -> Iterator[Row]:
    steps, count = (Steps(2, 4), 2) if run.is_quick else (Steps(50, 150), 20)
    bare = run.found(partial(bare_step, "resnet20", run.device, steps.long - steps.short, run.small))
    yield Row("ResNet-20, a bare eager loop of one model, a step", bare.text)
    for precision, goal in (("bf16-mixed", "<= 1.0 ms"), ("32-true", "<= 1.8 ms"), ("tf32", "")):
        given = [f"task.precision={precision}", *run.small]
        found = run.found(partial(model_step, "resnet20", run.device, count, steps, given))
        yield Row(f"ResNet-20, P = {count}, {precision}, a model-step through the suite", found.text, goal)


def _points(run: Run) -> Iterator[Row]:
    num_examples, num_points, side = (64, 4, 256) if run.is_quick else (50_000, 64, 8192)
    peak = gpu_points.peak_of(run.device, side)
    yield Row(f"a product of two {side:,} x {side:,} matrices in float32: the peak", f"{peak / 1e12:.3g} TFLOP/s")
    for task, policy, goal in (("lenet_m", "keep", "<= .14 us"), ("resnet20", "reestimate", "")):
        given = [f"task.data.num_train={num_examples}", f"evaluation.bn_policy={policy}", *run.small[:1]]
        found = run.found(partial(gpu_points.evaluation, task, run.device, given, num_points, peak))
        what = f"{task}, {num_points} points on {num_examples:,} examples ({policy}), an example and point"
        yield Row(what, found.text, goal)
    num_examples = 128 if run.is_quick else 2048
    for task in ("lenet_m",) if run.is_quick else ("lenet_m", "resnet20"):
        found = run.found(partial(gpu_points.hessian, task, run.device, num_examples))
        yield Row(f"{task}, a Hessian product on {num_examples:,} examples", found.text)


def _studies(run: Run) -> Iterator[Row]:
    small = run.found(lambda: gpu_studies.small(run.device, run.seconds_left))
    yield Row("a small study of MNIST-1D, from one command", small.text)
    for name, goal in (("lenet", "<= 12 minutes at T"), ("resnet20", "<= 60 minutes at T")):
        if run.is_quick:
            found = Found("not measured (a quick run leaves it out)")
        else:
            found = run.found(lambda name=name: gpu_studies.tenth(name, run.device, run.seconds_left))  # type: ignore[misc]
        yield Row(f"study={name}, all analyses and the report from one command", found.text, goal)


def _measured(rows: list[Row], device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    how = "in true float32 and without cuDNN's benchmark unless said; steps of programs are captured on a GPU"
    said = f"Measured by `python -m benchmarks.gpu` on {name} with torch {torch.__version__}, {how}."
    return "\n".join([_HEADING, "", said, "", "| what | found | goal |", "|---|---|---|", *map(str, rows), ""])


if __name__ == "__main__":
    main()
