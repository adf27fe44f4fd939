"""How soon the command line answers what it can answer without torch."""

import shlex
import sys

from benchmarks.common import Options, Row, bounded, wall
from benchmarks.suite import shell

_TRAIN = f"{shlex.quote(sys.executable)} -m lmc_lab.train"
_QUESTIONS = {
    "--help": f"{_TRAIN} --help",
    "--cfg job": f"{_TRAIN} --cfg job",
    "tab completion": f'COMP_LINE="lmc-train task=le" COMP_POINT=17 {_TRAIN} -sc query=bash',  # what bash calls
}


def measure(options: Options) -> list[Row]:
    """Returns a row for each question."""
    repeats = options.pick(9, 3)
    return [
        bounded(f"start-up: {name}", [wall(lambda: shell(script)) for _ in range(repeats)], at_most=0.5)  # noqa: B023
        for name, script in _QUESTIONS.items()
    ]
