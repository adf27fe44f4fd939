"""How soon the command line answers what it can answer without torch, the library is imported, and a report's page is there."""

import shlex
import sys
from functools import partial
from statistics import median

from benchmarks import bare_hydra
from benchmarks.common import REPOSITORY, Options, Row, alternate, bounded, duration, wall
from benchmarks.suite import output_in, shell

_QUESTIONS = {
    "--help": "{program} --help",
    "--cfg job": "{program} --cfg job",
    "tab completion": 'COMP_LINE="lmc-train task=le" COMP_POINT=17 {program} -sc query=bash',  # what bash calls
}
_DEMO = REPOSITORY / "docs" / "results" / "mnist1d.parquet"  # what `make demo` measured, as one file


def measure(options: Options) -> list[Row]:
    """Returns a row for each question, for the library and for the page."""
    answers = [_row(f"start-up: {name}", question, options.pick(9, 3)) for name, question in _QUESTIONS.items()]
    return [*answers, _library(options.pick(9, 3)), _page(options)]


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


def _library(repeats: int) -> Row:
    """Returns the row of what the library's import takes beyond torch's."""
    scripts = ("import lmc_lab; lmc_lab.Objective", "import torch")
    asked = [partial(shell, shlex.join([sys.executable, "-c", script])) for script in scripts]
    ours, bare = alternate(*(partial(wall, ask) for ask in asked), repeats=repeats)
    return bounded(
        f"start-up: {scripts[0]}, beyond {scripts[1]}",
        [a - b for a, b in zip(ours, bare, strict=True)],
        at_most=0.1,
        note=f"of {duration(median(ours))}; {scripts[1]} takes {duration(median(bare))}",
    )


def _page(options: Options) -> Row:
    """Returns the row of a report of the demo without figures for papers, after whose page the process ends."""
    given = [f"results=[{_DEMO}]", "figures=[]", output_in(options.folder)]
    ask = partial(shell, shlex.join([sys.executable, "-m", "lmc_lab.report", *given]))
    return bounded(
        "the page of the demo's report, from an empty process to its path in print",
        [wall(ask) for _ in range(options.pick(5, 2))],
        at_most=3.0,
        note="until the end of the process, which draws no figures for papers",
    )
