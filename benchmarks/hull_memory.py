"""The memory that a hull of many large endpoints takes: bounded by a chunk of points, whatever J."""

import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import Options, Row, megabytes, own_process, skipped
from benchmarks.suite import build
from lmc_lab.landscape.hull import probe_hull, sample_hull
from lmc_lab.tasks.point_evaluator import PointEvaluator

_WHAT = "peak memory of a hull, LeNet-5"
_SELF = Path("/proc/self")
_NUM_EXAMPLES = 512
_POINTS_PER_CHUNK = 64  # as `probe_hull` has it


@dataclass(frozen=True)
class Memory:
    """Bytes of a process: resident before the hull, and the most during it; and those of one point."""

    before: int
    peak: int
    point: int


def rows(options: Options) -> list[Row]:
    """Returns the row of a hull of 300 endpoints with few and with many samples."""
    if not (_SELF / "clear_refs").exists():
        return [skipped(_WHAT, "needs Linux's /proc")]
    num_endpoints, few, many = options.pick((300, 100, 1000), (20, 64, 128))
    small, large = _apart(num_endpoints, few), _apart(num_endpoints, many)
    more = (large.peak - large.before) - (small.peak - small.before)
    chunk = _POINTS_PER_CHUNK * large.point
    return [
        Row(
            what=f"{_WHAT}, P={num_endpoints}: J={many:,} beside J={few}",
            ours=f"{megabytes(large.peak - large.before)} beside {megabytes(small.peak - small.before)}",
            goal=f"at most a chunk more, {megabytes(chunk)}",
            is_met=more <= chunk,
            note=(
                f"beyond the {megabytes(large.before)} of torch and the endpoints (P x D is "
                f"{megabytes(num_endpoints * large.point)}, J x D {megabytes(many * large.point)}); {_NUM_EXAMPLES} examples, "
                "in a process that gives back what it frees"
            ),
        )
    ]


def _apart(num_endpoints: int, num_samples: int) -> Memory:
    """Returns the memory of a hull in a process of its own, which gives back at once what it frees.

    As glibc comes, freed blocks of the size of a chunk stay in the heap or not, by chance: peaks of equal runs were 80 MB
    apart.
    """
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**20)
    try:
        with own_process() as pool:
            return pool.submit(_measure, num_endpoints, num_samples).result()
    finally:
        del os.environ["MALLOC_MMAP_THRESHOLD_"]


def _measure(num_endpoints: int, num_samples: int) -> Memory:
    from benchmarks.evaluation import near_start

    task = build("task=lenet_m").task
    endpoints, buffers = near_start(task, num_endpoints)
    evaluator = PointEvaluator(task.initialise(0), task.dataset.train)
    evaluate = evaluator.evaluate_on(task.dataset.train.first(_NUM_EXAMPLES), buffers)
    evaluate(endpoints[:1], endpoints.new_ones(1, num_endpoints).double())  # what torch sets up once
    (_SELF / "clear_refs").write_text("5")  # sets the peak back to what is resident now
    before = _status("VmRSS")
    sample = sample_hull(endpoints, num_samples, seed=0)
    probe_hull(evaluate, endpoints, sample, points_at_a_time=_POINTS_PER_CHUNK)
    return Memory(before, _status("VmHWM"), endpoints[0].nbytes)


def _status(name: str) -> int:
    """Returns an entry of /proc/self/status, bytes."""
    (line,) = (line for line in (_SELF / "status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
