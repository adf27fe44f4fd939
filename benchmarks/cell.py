"""One mode from nothing to its rows: processes started in a shell, against the baseline script."""

import shlex
from tempfile import TemporaryDirectory

from benchmarks import suite
from benchmarks.baseline import Cell, best_baseline
from benchmarks.common import Options, Row, alternate, faster, wall
from lmc_lab.stages import command


def compare(name: str, cell: Cell, options: Options, *, at_least: float, repeats: int) -> Row:
    """Returns the row of a cell: wall time with start-up, data decoded before."""
    baseline, remark = best_baseline(options, cell.num_examples)
    suite.decode(suite.build(*_task(cell)).task)
    ours, theirs = alternate(
        lambda: _suite(cell), lambda: baseline.start_up() + baseline.run(cell).total, repeats=repeats
    )
    note = f"{remark}; {repeats} round{'s' * (repeats > 1)}"
    return faster(f"{name}: {cell}", ours, theirs, at_least=at_least, note=note)


def _suite(cell: Cell) -> float:
    """Returns the seconds of the two commands."""
    with TemporaryDirectory() as folder:
        shared = [*_task(cell), f"split_step={cell.split_step}", suite.output_in(folder)]
        train = command("train", *shared, f"seed=range({cell.num_branches})", multirun=True)
        chosen = ["analysis=[convex_mode]", f"analysis.convex_mode.num_samples={cell.num_samples}"]
        analyze = command("analyze", *shared, *chosen)
        return wall(lambda: suite.shell(f"{shlex.join(train)} && {shlex.join(analyze)}"))


def _task(cell: Cell) -> list[str]:
    """Returns the overrides of the task; one test example, since the baseline evaluates none."""
    data = [f"task.data.num_train={cell.num_examples}", "task.data.num_test=1"]
    return ["task=lenet_m", f"task.max_steps={cell.num_steps}", *data]
