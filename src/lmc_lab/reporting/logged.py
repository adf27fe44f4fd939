"""What was logged of a run, in a file, so that nothing is logged twice when the run is trained or reported again."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


class LoggedRows:
    """The rows that were logged of a run: a file with a line for each step and its metrics.

    Args:
        path: of the file.
        by_value: whether other values of the same metrics at the same step are logged, too.
    """

    def __init__(self, path: Path, *, by_value: bool = False) -> None:
        self._path = path
        self._by_value = by_value
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        for line in lines:
            with suppress(ValueError):  # a line that a kill cut off; it is logged again
                step, metrics = json.loads(line)
                self.rows.append((step, metrics))
        self._known = {self._key(step, metrics) for step, metrics in self.rows}

    def add(self, metrics: Mapping[str, float], step: int | None) -> bool:
        """Adds a line, unless these metrics were logged at this step; returns whether it did."""
        key = self._key(step, metrics)
        if key in self._known:
            return False
        self._known.add(key)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps([step, {name: float(value) for name, value in metrics.items()}]) + "\n")
        return True

    def _key(self, step: int | None, metrics: Mapping[str, float]) -> tuple[object, ...]:
        if self._by_value:
            return (step, *sorted(f"{name}={float(value)!r}" for name, value in metrics.items()))
        return (step, *sorted(metrics))
