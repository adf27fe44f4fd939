"""What all benchmarks share: their options, times of two sides taken in turn, rows of the table, and the machine."""

import importlib
import multiprocessing
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import TypeVar

from lmc_lab.process import processor
from lmc_lab.versions import package_version

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[1]
BASELINE = REPOSITORY / "benchmarks" / "baseline_lightning.py"

_PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "numpy")


@dataclass(frozen=True)
class Options:
    """How the benchmarks run.

    Args:
        folder: for files that they share; removed at the end.
        is_quick: sizes that only show that they work.
        baseline: the script to compare with.
    """

    folder: Path
    is_quick: bool = False
    baseline: Path = BASELINE

    def pick(self, full: T, quick: T) -> T:
        """Returns the size to use."""
        return quick if self.is_quick else full


def wall(run: Callable[[], object]) -> float:
    """Returns the seconds that `run` takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def own_process(prepare: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """Returns what runs functions, after `prepare`, in one fresh process, untouched by what this one has set or freed."""
    return ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"), initializer=prepare)


@contextmanager
def one_core() -> Iterator[None]:
    """Keeps this thread, and what it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def alternate(*sides: Callable[[], float], repeats: int) -> list[list[float]]:
    """Returns what each side says, (sides, repeats): all once, then all again.

    Sides of one round see the same neighbours on the machine; every other round runs backwards, so that none is always
    the one that comes after the other.
    """
    found: list[list[float]] = [[] for _ in sides]
    for number in range(repeats):
        places = range(len(sides))
        for place in places if number % 2 == 0 else reversed(places):
            found[place].append(sides[place]())
    return found


def quotient(above: Sequence[float], below: Sequence[float]) -> float:
    """Returns the median over the rounds of above / below."""
    return median(a / b for a, b in zip(above, below, strict=True))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table; what is beside nothing and has no goal says how something grows."""

    what: str
    ours: str = ""
    theirs: str = ""
    ratio: str = ""
    goal: str = ""
    is_met: bool | None = None  # None: there is no goal, or it was not measured
    note: str = ""


def rows_of(script: str, options: Options) -> list[Row]:
    """Returns what the benchmark in the module of this name measures."""
    rows: list[Row] = importlib.import_module(f"benchmarks.{script}").measure(options)
    return rows


def faster(
    what: str, ours: Sequence[float], theirs: Sequence[float], *, at_least: float, per: str = "", note: str = ""
) -> Row:
    """Returns the row of two sides of which ours should need at most 1 / `at_least` of the time (seconds)."""
    ratio = quotient(theirs, ours)
    return Row(
        what=what,
        ours=duration(median(ours)) + per,
        theirs=duration(median(theirs)) + per,
        ratio=f"{ratio:.2f}x faster",
        goal=f">= {at_least:g}x faster",
        is_met=ratio >= at_least,
        note=note,
    )


def slower(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    at_most: float | None = None,
    per: str = "",
    note: str = "",
) -> Row:
    """Returns the row of two sides of which ours should need at most `at_most` times the time; None is no goal."""
    ratio = quotient(ours, theirs)
    return Row(
        what=what,
        ours=duration(median(ours)) + per,
        theirs=duration(median(theirs)) + per,
        ratio=f"{ratio:.2f}x its time",
        goal="" if at_most is None else f"<= {at_most:.2f}x its time",
        is_met=None if at_most is None else ratio <= at_most,
        note=note,
    )


def bounded(
    what: str, seconds: Sequence[float], *, at_most: float, beside: Sequence[float] | None = None, note: str = ""
) -> Row:
    """Returns the row of a time that should be at most `at_most` seconds; what stands `beside` it is shown, not judged."""
    found = median(seconds)
    return Row(
        what=what,
        ours=duration(found),
        theirs="" if beside is None else duration(median(beside)),
        ratio="" if beside is None else f"{quotient(seconds, beside):.2f}x its time",
        goal=f"<= {duration(at_most)}",
        is_met=found <= at_most,
        note=note,
    )


def skipped(what: str, why: str) -> Row:
    """Returns the row of what cannot be measured here."""
    return Row(what=what, goal="skipped", note=why)


def duration(seconds: float) -> str:
    """Returns a time with three digits and its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if abs(seconds) >= 0.9995 * size or unit == "us":  # 0.9996 s has three digits as 1 s, not as 1e+03 ms
            break
    return f"{seconds / size:.3g} {unit}"


def megabytes(size: float) -> str:
    """Returns a number of bytes in MB (2**20)."""
    return f"{size / 2**20:,.0f} MB"


def machine() -> dict[str, str]:
    """Returns what the numbers depend on, by name."""
    packages = (f"{name} {package_version(name)}" for name in _PACKAGES)
    return {
        "date": date.today().isoformat(),
        "CPU": f"{processor()}, {len(os.sched_getaffinity(0))} cores",
        "load before": f"{os.getloadavg()[0]:.1f} processes",
        "code": _code(),
        "versions": ", ".join([f"Python {platform.python_version()}", *packages]),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _code() -> str:
    """Returns the version of the suite and, where git knows it, the commit."""
    git = shutil.which("git")
    command = [git or "", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    found = subprocess.run(command, capture_output=True, text=True).stdout.strip() if git else ""
    return ", ".join(filter(None, [f"lmc_lab {package_version('lmc_lab')}", found]))
