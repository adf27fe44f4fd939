"""Measures the suite beside what one would use instead: ``python -m benchmarks [names] [--quick] [--large]``."""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import page
from benchmarks.common import BASELINE, REPOSITORY, Options, Row, machine, own_process, rows_of, skipped
from lmc_lab.errors import UserError

_SCRIPTS = ("start_up", "branch_overhead", "training_step", "hessian", "growth", "evaluation", "small_cell")
_LARGE = "large_cell"  # 20 to 60 minutes
_PAGE = REPOSITORY / "docs" / "performance.md"


def main() -> None:
    """Runs the command line."""
    given = _arguments()
    names = given.names or [*_SCRIPTS, *([_LARGE] if given.large else [])]
    here = machine()
    print(page.facts(here), flush=True)
    with TemporaryDirectory() as folder:
        os.environ.setdefault("LMC_CACHE_DIR", str(Path(folder, "data")))  # decoded once for all that run
        rows = [row for name in names for row in _rows(name, Options(Path(folder), given.quick, given.baseline))]
    is_whole = not given.names and not given.quick
    if output := given.output or (_PAGE if is_whole else None):
        command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
        page.save(output, page.render(rows, machine=here, command=command))
        if is_whole:
            page.append(output.with_name("measurements.csv"), rows, machine=here)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help=f"some of {', '.join(_SCRIPTS)}, {_LARGE}; all but the last by default"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that all works; the numbers mean little"
    )
    parser.add_argument("--large", action="store_true", help=f"with {_LARGE}, which takes 20 to 60 minutes")
    parser.add_argument(
        "--output",
        type=Path,
        help="the page to write; docs/performance.md for a whole run, whose rows measurements.csv beside it gets, else none",
    )
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="the script to compare with")
    given = parser.parse_args()
    if unknown := set(given.names) - {*_SCRIPTS, _LARGE}:
        parser.error(f"expected names among {', '.join(_SCRIPTS)}, {_LARGE}, found {', '.join(unknown)}")
    return given


def _rows(name: str, options: Options) -> list[Row]:
    """Returns, and prints, the rows of the benchmark of this name; if it lacks something, one that says what."""
    start = time.perf_counter()
    try:
        with own_process() as process:
            found = process.submit(rows_of, name, options).result()
    except UserError as error:
        found = [skipped(name, str(error))]
    print(f"{name}, {time.perf_counter() - start:.0f} s\n{page.comparisons(found)}\n", flush=True)
    return found


if __name__ == "__main__":
    main()
