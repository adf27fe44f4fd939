"""Branches together on a GPU, beside a bare loop of one model: ``python -m benchmarks.gpu`` measures for docs/gpu.md.

It needs CIFAR-10 in LMC_DATA_DIR, takes less than eight minutes on an H100, and runs from the source folder with
whatever torch is there. ``--device cpu --quick`` shows that it works.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hydra import compose, initialize_config_dir

from benchmarks.common import REPOSITORY
from lmc_lab.compose import build_experiment
from lmc_lab.landscape.hull import probe_hull, sample_hull
from lmc_lab.process import prepare_process
from lmc_lab.runs import checkpoint
from lmc_lab.runs.branch import train_from
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.run import Run
from lmc_lab.runs.together import train_together
from lmc_lab.runs.trunk import ensure_split
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.supervised import only_optimizer

_PAGE = REPOSITORY / "docs" / "gpu.md"
_HEADING = "## Measured"


@dataclass(frozen=True)
class Row:
    """One line of the page; a figure that was not measured says why."""

    what: str
    found: str
    goal: str = ""


@dataclass(frozen=True)
class Steps:
    """How long is trained for a figure: the time of the longer less that of the shorter is that of the steps between."""

    short: int
    long: int


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
    for row in _rows(given.device, is_quick=given.quick):
        print(f"| {row.what} | {row.found} | {row.goal} |", flush=True)
        rows.append(row)
    is_whole = given.device == "cuda" and not given.quick
    if output := given.output or (_PAGE if is_whole else None):
        kept = _PAGE.read_text().partition(_HEADING)[0]
        output.write_text(kept + _measured(rows, given.device))


def _rows(device: str, *, is_quick: bool) -> Iterator[Row]:
    steps = Steps(4, 8) if is_quick else Steps(200, 1200)
    counts = (2,) if is_quick else (1, 5, 20, 100, 300)
    small = ["task.batch_size=8", "task.data.num_train=64"] if is_quick else []
    bare = _said(lambda: bare_step("lenet_m", device, steps.long - steps.short, small))
    yield Row("LeNet-5 with momentum, a bare eager loop of one model, a step", bare)
    for count in counts:
        goal = {20: "<= .13 ms", 300: "<= .15 ms, under 10 GB"}.get(count, "")
        found = _said(lambda count=count: model_step("lenet_m", device, count, steps, small))  # type: ignore[misc]
        yield Row(f"LeNet-5 with momentum, P = {count}, a model-step through the suite", found, goal)
    tf32 = ["task.precision=tf32", *small]
    found = _said(lambda: model_step("lenet_m", device, 2 if is_quick else 20, steps, tf32))
    yield Row("the same in TF32, P = 20", found)
    few = Steps(2, 4) if is_quick else Steps(50, 150)
    bare = _said(lambda: bare_step("resnet20", device, few.long - few.short, small))
    yield Row("ResNet-20, a bare eager loop of one model, a step", bare)
    for precision, goal in (("bf16-mixed", "<= 1.0 ms"), ("32-true", "<= 1.8 ms")):
        given = [f"task.precision={precision}", *small]
        count = 2 if is_quick else 20
        found = _said(lambda given=given, count=count: model_step("resnet20", device, count, few, given))  # type: ignore[misc]
        yield Row(f"ResNet-20, P = {count}, {precision}, a model-step through the suite", found, goal)
    num_examples, num_points = (64, 4) if is_quick else (50_000, 64)
    for task, policy, goal in (("lenet_m", "keep", "<= .14 us"), ("resnet20", "reestimate", "")):
        given = [f"task.data.num_train={num_examples}", f"evaluation.bn_policy={policy}", *small[:1]]
        found = _said(lambda task=task, given=given: evaluation(task, device, given, num_points))  # type: ignore[misc]
        yield Row(
            f"{task}, {num_points} points on {num_examples} examples ({policy}), an example and point", found, goal
        )
    yield Row("LeNet-5, a hull of equal endpoints: p_conv", _said(lambda: of_equal_endpoints(device)), "0")
    yield Row("LeNet-5, the losses of 8 points, less those of the CPU", _said(lambda: beside_cpu(device)), "1e-7")
    yield Row(
        "LeNet-5, three branches, float64, 20 steps: together less alone", _said(lambda: difference(device)), "1e-12"
    )


def _said(measure: Callable[[], str]) -> str:
    """Returns what was measured, or why it was not."""
    try:
        return measure()
    except Exception as error:  # one figure that cannot be had does not cost the others
        return f"not measured ({type(error).__name__}: {' '.join(str(error).split())[:150]})"


@contextmanager
def experiment(task: str, device: str, overrides: list[str]) -> Iterator[Experiment]:
    """Gives the experiment of a task in a folder of its own."""
    trainer = "gpu" if device == "cuda" else "cpu"
    with TemporaryDirectory() as folder, initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        given = [f"task={task}", f"trainer={trainer}", f"output_dir={folder}", *overrides]
        yield build_experiment(compose("train", given))


def model_step(task: str, device: str, count: int, steps: Steps, overrides: list[str]) -> str:
    """Returns the time of a step of one of `count` models of one program, Trainer, curves and path lengths included."""
    seconds = {}
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for stop in (steps.short, steps.long):
        with experiment(task, device, [f"task.max_steps={stop}", *overrides]) as own:
            ensure_split(own, 0)
            runs = [Run(own, 0, seed) for seed in range(count)]
            start = time.perf_counter()
            train_together(runs)
            seconds[stop] = time.perf_counter() - start
    per_step = (seconds[steps.long] - seconds[steps.short]) / (steps.long - steps.short) / count
    return f"{1e3 * per_step:.3f} ms{_memory(device)}"


def bare_step(task: str, device: str, num_steps: int, overrides: list[str]) -> str:
    """Returns the time of a step of a loop that anyone would write: one model, eagerly, data on the device."""
    with experiment(task, device, overrides) as own:
        run = Run(own)
        module = own.task.initialise(0).to(device)
        batches = [tuple(part.to(device) for part in run.batches(0).at(step)) for step in range(4)]
        optimizer = only_optimizer(module.configure_optimizers())
        for step in range(10 + num_steps):
            if step == 10:
                _synchronise(device)
                start = time.perf_counter()
            optimizer.zero_grad()
            module.training_loss(batches[step % 4]).backward()  # type: ignore[no-untyped-call,arg-type]
            optimizer.step()
        _synchronise(device)
        return f"{1e3 * (time.perf_counter() - start) / num_steps:.3f} ms"


def difference(device: str) -> str:
    """Returns the largest difference of a weight of three branches together from the same branches alone, on the device."""
    given = ["task.precision=64-true", "task.max_steps=20", "task.batch_size=32", "task.data.num_train=256"]
    with experiment("lenet_m", device, given) as own, TemporaryDirectory() as other:
        ensure_split(own, 0)
        runs = [Run(own, 0, seed) for seed in range(3)]
        train_together(runs)
        alone = replace(own, paths=replace(own.paths, root=Path(other) / own.paths.root.name))
        ensure_split(alone, 0)
        worst = 0.0
        for run in runs:
            folders = (run.folder, train_from(alone, alone.split(0), run.seed or 0))
            states = [checkpoint.load(folder.endpoint).state["model"] for folder in folders]
            worst = max(worst, *(float((states[0][name] - value).abs().max()) for name, value in states[1].items()))
        return f"{worst:.1e}"


def evaluation(task: str, device: str, overrides: list[str], num_points: int) -> str:
    """Returns the time for an example and a point."""
    with experiment(task, device, overrides) as own:
        evaluator, thetas, buffers = _points(own, device, num_points)
        coefficients = torch.eye(num_points, dtype=torch.float64)
        evaluate = evaluator.evaluate_on(own.task.dataset.train, buffers)
        evaluate(thetas, coefficients)  # once for what is chosen and allocated at the first time
        start = time.perf_counter()
        evaluate(thetas, coefficients)
        seconds = time.perf_counter() - start
        per = 1e6 * seconds / num_points / len(own.task.dataset.train)
        return f"{per:.3f} us ({evaluator.method}{_memory(device)})"


def of_equal_endpoints(device: str) -> str:
    """Returns p_conv of a hull without extent."""
    with experiment("lenet_m", device, ["task.data.num_train=2048"]) as own:
        evaluator, thetas, buffers = _points(own, device, 4, distance=0.0)
        probe = probe_hull(
            evaluator.evaluate_on(own.task.dataset.train, buffers), thetas, sample_hull(thetas, 20, seed=0)
        )
        return f"{float(probe.is_conv_better.double().mean()):g}"


def beside_cpu(device: str) -> str:
    """Returns the largest difference of a loss from the CPU's."""
    with experiment("lenet_m", device, ["task.data.num_train=2048"]) as own:
        found = []
        for where in (device, "cpu"):
            evaluator, thetas, buffers = _points(own, where, 8)
            coefficients = torch.eye(8, dtype=torch.float64)
            found.append(evaluator.evaluate_on(own.task.dataset.train, buffers)(thetas, coefficients).loss)
        return f"{float((found[0] - found[1]).abs().max()):.1e}"


def _points(
    own: Experiment, device: str, count: int, *, distance: float = 0.01
) -> tuple[PointEvaluator, torch.Tensor, dict[str, torch.Tensor]]:
    """Returns what evaluates points of a task on a device, and points around W_0 with their buffers."""
    given = {name: value for name, value in own.config["evaluation"].items() if not name.startswith("_")}
    evaluator = PointEvaluator(
        own.task.initialise(0), own.task.dataset.train, EvaluationSettings(**{**given, "device": device})
    )
    layout, state = own.task.layout, own.task.initialise(0).state_dict()
    theta = layout.theta(state, Path("W_0"))
    noise = torch.randn(count, len(theta), generator=torch.Generator().manual_seed(0))
    buffers = {name: torch.stack([value] * count) for name, value in layout.own_buffers(state, Path("W_0")).items()}
    return evaluator, theta + distance * noise, buffers


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _memory(device: str) -> str:
    return f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GB" if device == "cuda" else ""


def _measured(rows: list[Row], device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    lines = [f"| {row.what} | {row.found} | {row.goal} |" for row in rows]
    return "\n".join(
        [
            _HEADING,
            "",
            f"Measured by `python -m benchmarks.gpu` on {name} with torch {torch.__version__}, in true float32 unless said.",
            "",
            "| what | found | goal |",
            "|---|---|---|",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
