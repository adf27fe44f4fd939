"""How soon the command line answers what it can answer without torch."""

import shlex
import sys
from functools import partial

from benchmarks import bare_hydra
from benchmarks.common import Options, Row, alternate, bounded, wall
from benchmarks.suite import shell

_QUESTIONS = {
    "--help": "{program} --help",
    "--cfg job": "{program} --cfg job",
    "tab completion": 'COMP_LINE="lmc-train task=le" COMP_POINT=17 {program} -sc query=bash',  # what bash calls
}


def measure(options: Options) -> list[Row]:
    """Returns a row for each question."""
    return [_row(f"start-up: {name}", question, options.pick(9, 3)) for name, question in _QUESTIONS.items()]


def _row(what: str, question: str, repeats: int) -> Row:
    python = shlex.quote(sys.executable)
    programs = (f"{python} -m lmc_lab.train", f"{python} {shlex.quote(bare_hydra.__file__)}")
    asked = [partial(shell, question.format(program=program)) for program in programs]
    ours, bare = alternate(*(partial(wall, ask) for ask in asked), repeats=repeats)
    return bounded(
        what,
        ours,
        at_most=0.5,
        beside=bare,
        note="beside it: a program without config, with Hydra and its plugins, ours among them",
    )
