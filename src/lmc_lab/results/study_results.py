"""What a study asked for: what of it there is, and what is missing."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmc_lab.files import DamagedFile
from lmc_lab.results.folder import Result, read_results
from lmc_lab.results.manifest import StudyRecord
from lmc_lab.results.wanted import Wanted, most_complete


@dataclass(frozen=True)
class StudyResults:
    """The results of a study, and those that it lacks."""

    found: list[Result]
    missing: list[Wanted]
    partial: list[Wanted]  # found, of fewer branches
    damaged: list[DamagedFile]  # files that hold no result, of this study or of another of the same task
    elsewhere: list[Result]  # of weights from elsewhere, for the model of this study's task

    @property
    def with_rows(self) -> list[Result]:
        """Returns the results, but for hulls on the way, that have rows: predictions of a regression, say, have none."""
        return [result for result in self.found if not result.rows.empty and not _is_on_the_way(result)]

    @property
    def over_time(self) -> list[Result]:
        """Returns the results of hulls on their way, and of the same analyses at their end, whose rows get its step."""
        on_the_way = [result for result in self.found if _is_on_the_way(result)]
        names = {result.entry.analysis for result in on_the_way}
        ends = [result for result in self.with_rows if result.entry.analysis in names]
        return on_the_way + [replace(each, rows=each.rows.fillna({"step": _last_step(each)})) for each in ends]

    @property
    def config(self) -> dict[str, Any]:
        """Returns the config that the newest rows were computed with."""
        return dict(max(self.found or self.elsewhere, key=lambda result: result.entry.created).entry.config)

    @property
    def fingerprint(self) -> str:
        """Returns that of the task."""
        return (self.found or self.elsewhere)[0].entry.fingerprint

    @property
    def left_out(self) -> list[str]:
        """Returns which branches are in no result since their training diverged, as ``trunk 0, k = 20: seed 1 (…)``."""
        parts = {part for result in self.found for part in result.entry.subject if part.diverged}
        return [
            f"{part}: {', '.join(f'seed {seed} (at step {step})' for seed, step in part.diverged)}"
            for part in sorted(parts, key=str)
        ]


def _is_on_the_way(result: Result) -> bool:
    return any(part.step is not None for part in result.entry.subject)


def _last_step(result: Result) -> int:
    """Returns the step at which the branches of a result ended."""
    config = result.entry.config
    (split_step,) = {part.split_step or 0 for part in result.entry.subject}
    task = {**config["task"], **config["branch"]["overrides"]}
    return int(task["max_steps"]) + (split_step if config["branch_length"] == "after_split" else 0)


def collect(record: StudyRecord, folder: Path) -> StudyResults:
    """Returns what a folder has of a study: of each result that it asks for the most complete, the newest among equals."""
    return collect_from(record, *read_results(folder, record.fingerprint))


def collect_from(record: StudyRecord, results: Sequence[Result], damaged: Sequence[DamagedFile] = ()) -> StudyResults:
    """Returns what there is of a study among `results`, with the files that hold none."""
    collected = StudyResults([], [], [], [*damaged], from_elsewhere(results))
    for wanted in record.wanted:
        fitting = [result for result in results if wanted.fits(result.entry)]
        if not fitting:
            collected.missing.append(wanted)
            continue
        best = most_complete(fitting)
        collected.found.append(best)
        if not wanted.is_whole(best.entry):
            collected.partial.append(wanted)
    return collected


def from_elsewhere(results: Iterable[Result]) -> list[Result]:
    """Returns the newest result of each analysis with each of its settings on each set of weights from elsewhere."""
    newest = {}
    for result in sorted(results, key=lambda result: result.entry.created):
        if digests := tuple(digest for part in result.entry.subject for _, digest in part.files):
            settings = json.dumps(result.entry.settings, sort_keys=True)
            newest[result.entry.analysis, settings, digests] = result
    return list(newest.values())
