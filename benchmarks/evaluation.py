"""What the loss of a hull point costs, an example: side by side, one by one, and as people do it by hand."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from benchmarks import suite
from benchmarks.baseline import best_baseline, evaluation_cell
from benchmarks.common import Options, Row, alternate, faster, one_core, own_process, quotient, skipped, wall
from benchmarks.flops import flops_per_example, gemm_seconds_per_flop
from lmc_lab.errors import UserError
from lmc_lab.landscape.hull import hull_points
from lmc_lab.process import prepare_process
from lmc_lab.tasks.batch_norm import Buffers
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task

_PER = " per example and point"
_NUM_ENDPOINTS = 4


@dataclass(frozen=True, kw_only=True)
class Case:
    """A task, and how many hull points are evaluated on how many of its examples."""

    name: str
    task: str
    model: str | None = None  # in place of the task's own
    num_points: int
    num_examples: int
    repeats: int
    share_of_peak: float | None = None  # the goal
    reason: str = ""  # why it is not twice as fast as its loop
    remark: str = ""


_CASES = [
    Case(name="LeNet-5", task="lenet_m", num_points=16, num_examples=4000, repeats=11, share_of_peak=0.55),
    Case(name="MNIST-1D", task="mnist1d", num_points=64, num_examples=4000, repeats=3),
    Case(
        name="MLP with BatchNorm, re-estimated",
        task="mnist1d",
        model="benchmarks.norm_mlp.NormMLP",
        num_points=64,
        num_examples=4000,
        repeats=5,
        remark=" besides the 2,048 of the moments, whose time is in it and whose arithmetic is not",
    ),
    Case(
        name="ResNet-20, BatchNorm re-estimated",
        task="resnet20",
        num_points=1,
        num_examples=4096,
        repeats=2,
        reason="its layers fill a core alone, so models run one by one",
        remark=" besides the 2,048 of the moments, whose time is in it and whose arithmetic is not",
    ),
    Case(
        name="SIREN",
        task="siren",
        num_points=16,
        num_examples=8192,
        repeats=3,
        reason="its layers are large matrix products and sines, which one model at a time does about as well",
    ),
]


def measure(options: Options) -> list[Row]:
    """Returns the rows of every task, the comparison with the baseline script last."""
    rows = [row for case in _CASES for row in _apart(_rows, case, options)]
    return [*rows, *_apart(_against_baseline, _CASES[0], options)]


def _apart(measured: Callable[[Case, Options], list[Row]], case: Case, options: Options) -> list[Row]:
    """Returns the rows of a case, measured in a process of its own, or one that says which data or which script it lacks.

    The process keeps its memory as an analysis does, which would pass from one task to the next.
    """
    try:
        with own_process(prepare_process) as process:
            return process.submit(measured, case, options).result()
    except UserError as error:
        return [skipped(f"evaluation, {case.name}", str(error))]


def _rows(case: Case, options: Options) -> list[Row]:
    work = Work.of(case, options)
    repeats = options.pick(case.repeats, case.repeats // 2)
    with one_core():  # around the building, too: an evaluator takes as many threads as there are cores
        ours, loop, gemm = alternate(work.timed("auto"), work.timed("loop"), gemm_seconds_per_flop, repeats=repeats)
    peak = [seconds * work.flops for seconds in gemm]  # what an example would take at the speed of a large product
    share = quotient(peak, ours)
    note = f"{work.size}{case.remark}, one core; {share:.0%} of the GEMM peak, the loop {quotient(peak, loop):.0%}"
    note += f"; {case.reason}" if quotient(loop, ours) < 2 and case.reason else ""
    rows = [faster(f"evaluation, {case.name}, against its plain loop", ours, loop, at_least=2, per=_PER, note=note)]
    if case.share_of_peak is not None:
        rows.append(_share_of_peak(case, work.flops / median(ours), 1 / median(gemm), share))
    return rows


def _share_of_peak(case: Case, speed: float, peak: float, share: float) -> Row:
    return Row(
        what=f"evaluation, {case.name}, of the float32 GEMM peak",
        ours=f"{speed / 1e9:.0f} GFLOP/s",
        theirs=f"{peak / 1e9:.0f} GFLOP/s",
        ratio=f"{share:.1%}",
        goal=f">= {case.share_of_peak:.0%}",
        is_met=case.share_of_peak is not None and share >= case.share_of_peak,
        note="products of the model alone, two operations a multiply-add; peak of the faster of MKL and oneDNN; one core",
    )


def _against_baseline(case: Case, options: Options) -> list[Row]:
    num_examples = options.pick(10_000, 512)  # that the script loads; those of the small cell
    baseline, remark = best_baseline(options, num_examples)
    cell, work = evaluation_cell(num_examples), Work.of(replace(case, num_examples=num_examples), options)
    run = work.timed("auto")
    run()  # the first is not like the others
    ours, theirs = alternate(run, lambda: baseline.run(cell).per_evaluation, repeats=options.pick(3, 1))
    what = f"evaluation, {case.name}, against the baseline script"
    return [faster(what, ours, theirs, at_least=20, per=_PER, note=f"{remark}; both on all cores")]


@dataclass(frozen=True)
class Work:
    """Hull points of made-up endpoints, and the examples to evaluate them on."""

    task: Task
    endpoints: Tensor  # (P, D)
    buffers: Buffers
    weights: Tensor  # (n, P)
    num_examples: int
    flops: float  # of one example at one point

    @classmethod
    def of(cls, case: Case, options: Options) -> "Work":
        """Returns the work of `case`."""
        torch.manual_seed(0)
        model = [f"task.model={{_target_: {case.model}}}"] if case.model else []
        task = suite.build(f"task={case.task}", *model).task
        module = task.initialise(0).eval()
        endpoints, buffers = near_start(task, _NUM_ENDPOINTS)
        weights = torch.rand(
            options.pick(case.num_points, min(case.num_points, 8)), _NUM_ENDPOINTS, dtype=torch.float64
        )
        num_examples = options.pick(case.num_examples, 256)
        flops = flops_per_example(module, task.dataset.train.batch(slice(0, 64))[0])
        return cls(task, endpoints, buffers, weights / weights.sum(dim=1, keepdim=True), num_examples, flops)

    @property
    def size(self) -> str:
        """Returns how much is evaluated at a time."""
        return f"{len(self.weights)} point{'s' * (len(self.weights) > 1)}, {self.num_examples:,} examples"

    def timed(self, path: str) -> Callable[[], float]:
        """Returns the function that makes and evaluates the points and returns the seconds per example and point."""
        train = self.task.dataset.train
        evaluator = PointEvaluator(self.task.initialise(0), train, EvaluationSettings(path=path))
        evaluate = evaluator.evaluate_on(train.first(self.num_examples), self.buffers)

        def run() -> float:
            seconds = wall(lambda: evaluate(hull_points(self.endpoints, self.weights), self.weights))
            return seconds / len(self.weights) / self.num_examples

        return run


def near_start(task: Task, num_endpoints: int) -> tuple[Tensor, Buffers]:
    """Returns endpoints (P, D) around W_0, with their buffers: what a point costs does not depend on its values."""
    module = task.initialise(0)
    parameters = {name: value.detach() for name, value in module.named_parameters()}
    start = task.layout.parameters.flatten(parameters)
    endpoints = start + 0.01 * torch.randn(num_endpoints, len(start))
    return endpoints, {name: value.expand(num_endpoints, *value.shape) for name, value in module.named_buffers()}
