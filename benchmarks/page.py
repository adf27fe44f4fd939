"""docs/performance.md, measured above a marker and written by hand below it; and docs/measurements.csv, its history."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.common import Row
from lmc_lab.files import write_text

_MARKER = "<!-- Above this line everything is written by `python -m benchmarks`; what is below stays. -->"
HISTORY = ("date", "machine", "code", "what", "suite", "beside", "ratio", "goal", "remarks")
_VERDICT = {True: "yes", False: "**no**", None: ""}


def render(rows: Sequence[Row], *, machine: Mapping[str, str], command: str) -> str:
    """Returns the measured part of the page."""
    compared = [row for row in rows if row.theirs or row.goal]
    parts = [
        "# Performance",
        f"    {command}",
        facts(machine),
        "What stands beside the suite runs in turn with it, several times (the large cell once); times are medians, a ratio "
        "is the median over the rounds. Each script has a process of its own.",
        comparisons(compared),
    ]
    if others := [row for row in rows if row not in compared]:
        parts += ["How it grows:", _growth(others)]
    return "\n\n".join(parts) + "\n"


def facts(machine: Mapping[str, str]) -> str:
    """Returns what the numbers depend on as a list."""
    return "\n".join(f"- {name}: {value}" for name, value in machine.items())


def comparisons(rows: Sequence[Row]) -> str:
    """Returns the rows as a table with all columns."""
    cells = [[row.what, row.ours, row.theirs, row.ratio, row.goal, _VERDICT[row.is_met], row.note] for row in rows]
    return _table(["what", "suite", "beside it", "ratio", "goal", "met", "remarks"], cells)


def _growth(rows: Sequence[Row]) -> str:
    return _table(["what", "measured", "remarks"], [[row.what, row.ours, row.note] for row in rows])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def append(path: Path, rows: Sequence[Row], *, machine: Mapping[str, str]) -> None:
    """Adds the rows of one run to the history, a csv with the columns `HISTORY` in which no line is ever changed."""
    place = [machine["date"], machine["CPU"], machine["code"]]
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        if is_new:
            lines.writerow(HISTORY)
        lines.writerows([*place, row.what, row.ours, row.theirs, row.ratio, row.goal, row.note] for row in rows)


def save(path: Path, measured: str) -> None:
    """Writes the page; what stands below the marker in the file that is there stays."""
    existing = path.read_text() if path.exists() else ""
    by_hand = existing.partition(_MARKER)[2] or "\n"
    write_text(path, f"{measured}\n{_MARKER}{by_hand}")
