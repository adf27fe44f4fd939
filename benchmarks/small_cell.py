from benchmarks.baseline import Cell
from benchmarks.cell import compare
from benchmarks.common import Options, Row

_FULL = Cell(num_branches=4, split_step=100, num_steps=500, num_samples=8, num_examples=10_000)
_QUICK = Cell(num_branches=2, split_step=5, num_steps=15, num_samples=2, num_examples=512)


def measure(options: Options) -> list[Row]:
    """Returns the row of a mode that takes less than a minute, start-up included."""
    cell = options.pick(_FULL, _QUICK)
    return [compare("small cell", cell, options, at_least=4, repeats=options.pick(2, 1))]
