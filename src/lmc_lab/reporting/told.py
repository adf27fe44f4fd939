"""What a logger was told of a run, kept so that it is told once."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


class Told:
    """What was logged of a run: a file of a line for each step and its metrics."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        for line in lines:
            with suppress(ValueError):  # a line that a kill cut off; it is told again
                step, metrics = json.loads(line)
                self.rows.append((step, metrics))
        self._known = {(step, *sorted(metrics)) for step, metrics in self.rows}

    def add(self, metrics: Mapping[str, float], step: int | None) -> bool:
        """Adds a line, unless metrics of these names were logged at this step; returns whether it did."""
        key = (step, *sorted(metrics))
        if key in self._known:
            return False
        self._known.add(key)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps([step, {name: float(value) for name, value in metrics.items()}]) + "\n")
        return True
