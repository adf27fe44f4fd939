from benchmarks.baseline import Cell
from benchmarks.cell import compare
from benchmarks.common import Options, Row

_FULL = Cell(num_branches=8, split_step=100, num_steps=2000, num_samples=50, num_examples=50_000)
_QUICK = Cell(num_branches=3, split_step=5, num_steps=15, num_samples=3, num_examples=512)


def measure(options: Options) -> list[Row]:
    """Returns the row of a mode large enough that start-up does not count: 20 to 60 minutes, mostly the baseline's."""
    cell = options.pick(_FULL, _QUICK)
    return [compare("large cell", cell, options, at_least=6, repeats=1)]
