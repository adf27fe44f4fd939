"""What the trials of a sweep found: a table, how each key and the onset go together, and a figure of both."""

from collections.abc import Iterator
from math import inf, isnan
from pathlib import Path

import pandas as pd

from lmc_lab.files import write_text
from lmc_lab.landscape.rank_correlation import rank_correlation
from lmc_lab.reporting.figures.onset_by_key import CAPTION, onset_by_key
from lmc_lab.reporting.pictures import files_of, write_figure
from lmc_lab.reporting.table import as_text
from lmc_lab.runs.paths import reports
from lmc_lab.tuning.detection import judge
from lmc_lab.tuning.parameters import Range
from lmc_lab.tuning.sweep import Sweep
from lmc_lab.tuning.trial import Trial

_FORMATS = ("png", "svg", "pdf")
_FEWEST = 8  # trials, of which half choose a rule of detectors and half judge it
_ONSETS = ["criterion", "trunk", "last_failed", "first_held", "reversals", "num_steps"]


class SweepRecord:
    """The trials of a sweep so far.

    Args:
        sweep: of which they are.
        output_dir: below which the record is written.
    """

    def __init__(self, sweep: Sweep, output_dir: Path) -> None:
        self._sweep = sweep
        self._folder = reports(output_dir, sweep.name)
        self._lines: list[pd.DataFrame] = []
        self._points: list[pd.DataFrame] = []
        self._trials: set[str] = set()

    def add(self, trial: Trial, onsets: pd.DataFrame, points: pd.DataFrame) -> None:
        """Adds what a trial found, as `Trial.onsets` and `Trial.turning_points` return it."""
        if self._is_there(trial):
            return
        self._lines.append(onsets[_ONSETS].assign(trial=trial.name, **trial.values))
        of_criterion = onsets[onsets["criterion"].eq(self._criterion)]
        onset = of_criterion.set_index("trunk")["first_held"].astype(float).fillna(inf)
        joined = points.assign(setting=trial.name, onset=points["trunk"].map(onset), **trial.values)
        self._points.append(joined)

    def add_failed(self, trial: Trial, reason: str) -> None:
        """Adds a trial that has no onset, and why."""
        if self._is_there(trial):
            return
        self._lines.append(pd.DataFrame([{**trial.values, "trial": trial.name, "failed": reason}]))

    def _is_there(self, trial: Trial) -> bool:
        """Returns whether a trial is in the record, and takes it down: a search among few values may draw one again."""
        is_there = trial.name in self._trials
        self._trials.add(trial.name)
        return is_there

    @property
    def table(self) -> pd.DataFrame:
        """Returns a line for each trial, criterion and trunk; a failed trial has one that says why."""
        keys = list(self._sweep.parameters)
        lines = pd.concat([pd.DataFrame(columns=["trial", *keys, *_ONSETS, "failed"]), *self._lines], ignore_index=True)
        return lines[["trial", *keys, *_ONSETS, "failed"]]

    def summary(self) -> str:
        """Returns the onsets by the sweep's criterion, and the rank correlation of each key with them, as text."""
        lines = self._criterion_lines
        if lines.empty:
            return "no trial has an onset"
        shown = lines[[*self._sweep.parameters, "trunk", "last_failed", "first_held", "reversals"]]
        return "\n".join([as_text(shown), *self._correlations(lines), *self._detectors()])

    def write(self) -> list[Path]:
        """Writes the table, and the figure if there is an onset to draw; returns where."""
        self._folder.mkdir(parents=True, exist_ok=True)
        table, detectors, lines = self._folder / "trials.csv", self._folder / "detectors.csv", self._criterion_lines
        write_text(table, self.table.to_csv(index=False))
        if lines.empty:
            return [table]
        write_text(detectors, pd.concat(self._points, ignore_index=True).to_csv(index=False))
        paths = files_of(self._folder, "onset", _FORMATS)
        write_figure(lambda: onset_by_key(lines, self._is_log), paths)
        write_text(self._folder / "captions.txt", f"onset\n{CAPTION}\n")
        return [table, detectors, *paths]

    @property
    def _criterion_lines(self) -> pd.DataFrame:
        """Returns the lines of the criterion that the sweep goes by."""
        table = self.table
        return table[table["criterion"].eq(self._criterion)]

    @property
    def _criterion(self) -> str:
        return self._sweep.metric.removesuffix("_share")

    @property
    def _is_log(self) -> dict[str, bool]:
        """Returns of each key whether its axis is logarithmic."""
        return {key: isinstance(each, Range) and each.is_log for key, each in self._sweep.parameters.items()}

    def _correlations(self, lines: pd.DataFrame) -> Iterator[str]:
        """Yields a line for each key whose values are numbers: a trial counts once, by the mean over its trunks."""
        onset = lines["first_held"].fillna(inf)
        trials = (
            lines.assign(onset=onset)
            .groupby("trial")
            .agg({"onset": "mean", **dict.fromkeys(self._sweep.parameters, "first")})
        )
        for key in self._sweep.parameters:
            values = pd.to_numeric(trials[key], errors="coerce")
            if values.notna().all():
                correlation = rank_correlation(values.tolist(), trials["onset"].tolist())
                if isnan(correlation.value):
                    yield f"no rank correlation of the onset with {key}: it wants 4 trials in which both differ"
                    continue
                yield f"rank correlation of the onset with {key}: {correlation} (Spearman's, {correlation.num_pairs} trials)"

    def _detectors(self) -> Iterator[str]:
        """Yields how detectors go with the onset, where there are enough trials to choose a rule and to judge by it."""
        points = pd.concat(self._points, ignore_index=True)
        if points["setting"].nunique() < _FEWEST:
            return
        judged = judge(points)
        if any(not isnan(each.value) for each in judged.found.values()):
            yield judged.rule
            yield as_text(judged.table)
