"""How time and memory grow: with hull samples, with examples, with worker processes."""

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

import numpy as np

from benchmarks import hull_memory, suite, worker_memory
from benchmarks.common import Options, Row, alternate, duration, one_core, own_process, wall
from benchmarks.evaluation import near_start
from lmc_lab.landscape.hull import probe_hull, sample_hull
from lmc_lab.process import prepare_process
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task

_NUM_ENDPOINTS = 4


def measure(options: Options) -> list[Row]:
    """Returns the rows of the table of growth, and the one goal among them: memory that does not grow with J."""
    with own_process(prepare_process) as process:  # as an analysis has it
        times = process.submit(_times, options).result()
    return [*times, *hull_memory.rows(options), *worker_memory.rows(options)]


def _times(options: Options) -> list[Row]:
    task = suite.build("task=lenet_m").task
    num_samples, num_examples = (
        options.pick((16, 32, 48, 64), (2, 4)),
        options.pick((512, 1024, 1536, 2048), (256, 512)),
    )
    few_samples, few_examples = num_samples[0], num_examples[1]
    in_samples = {count: partial(_probe, task, count, few_examples) for count in num_samples}
    in_examples = {count: partial(_probe, task, few_samples, count) for count in num_examples}
    repeats = options.pick(2, 1)
    return [
        _line(f"J, at N={few_examples:,}", "hull sample (a point and its control)", in_samples, repeats),
        _line(f"N, at J={few_samples}", "example", in_examples, repeats),
    ]


def _probe(task: Task, num_samples: int, num_examples: int) -> None:
    """Does what the analysis `convex_mode` does on the training set."""
    endpoints, buffers = near_start(task, _NUM_ENDPOINTS)
    evaluator = PointEvaluator(task.initialise(0), task.dataset.train)
    evaluate = evaluator.evaluate_on(task.dataset.train.first(num_examples), buffers)
    probe_hull(evaluate, endpoints, sample_hull(endpoints, num_samples, seed=0))


def _line(of: str, unit: str, runs: Mapping[int, Callable[[], None]], repeats: int) -> Row:
    """Returns the row of a straight line through the times at several sizes."""
    next(iter(runs.values()))()  # the first is not like the others
    with one_core():
        found = alternate(*(partial(wall, run) for run in runs.values()), repeats=repeats)
    sizes, seconds = np.array(list(runs)), np.array([median(times) for times in found])
    slope, fixed = np.polyfit(sizes, seconds, 1)
    deviation = np.abs(slope * sizes + fixed - seconds).max() / seconds.max()
    measured = ", ".join(f"{size:,}: {duration(time)}" for size, time in zip(sizes, seconds, strict=True))
    return Row(
        what=f"time of a hull in {of}, LeNet-5, P={_NUM_ENDPOINTS}",
        ours=f"{duration(slope)} per {unit}, and {duration(fixed)}",
        note=f"measured {measured}; off the line by at most {deviation:.0%} of the longest; one core",
    )
