"""What one more branch of a job costs beside its steps: a folder, a config, a csv file, an endpoint."""

from itertools import count, islice
from tempfile import TemporaryDirectory

from benchmarks import suite
from benchmarks.common import Options, Row, alternate, bounded, duration, wall
from benchmarks.training_step import suite_step

_SPLIT, _STOP = 10, 20


def measure(options: Options) -> list[Row]:
    """Returns the row of sweeps of P and of 2P branches of ten steps, one job at a time."""
    num_branches = options.pick(6, 2)
    with TemporaryDirectory() as folder:
        shared = ["task=mnist1d", f"task.max_steps={_STOP}", f"split_step={_SPLIT}", suite.output_in(folder)]
        suite.run("train", *shared)  # the trunk
        seeds = count()

        def sweep(size: int) -> float:
            chosen = ",".join(str(seed) for seed in islice(seeds, size))
            arguments = [*shared, f"seed={chosen}", "hydra.launcher.n_jobs=1"]
            return wall(lambda: suite.run("train", *arguments, multirun=True))

        few, many = alternate(lambda: sweep(num_branches), lambda: sweep(2 * num_branches), repeats=options.pick(2, 1))
    steps = (_STOP - _SPLIT) * suite_step(suite.build("task=mnist1d"), 10, options.pick(200, 50))
    overheads = [(longer - shorter) / num_branches - steps for shorter, longer in zip(few, many, strict=True)]
    note = f"sweeps of {num_branches} and {2 * num_branches}, MNIST-1D, one job at a time; steps ({duration(steps)}) taken off"
    return [bounded("one more branch, beside its steps", overheads, at_most=0.3, note=note)]
