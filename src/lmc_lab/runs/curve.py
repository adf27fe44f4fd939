"""The loss curve of a run, metrics.csv."""

import csv
from pathlib import Path

from lmc_lab.files import write_text

CURVE_COLUMNS = ("step", "train_loss", "path_length")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the whole rows of a metrics.csv; a last row cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return list(csv.DictReader(line for line in lines if line.endswith("\n")))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Writes a metrics.csv with these rows."""
    lines = [CURVE_COLUMNS, *([row[name] for name in CURVE_COLUMNS] for row in rows)]
    write_text(path, "".join(",".join(line) + "\n" for line in lines))
