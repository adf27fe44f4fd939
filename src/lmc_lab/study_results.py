"""What a study asked for: what of it there is, and what is missing, with the reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lmc_lab.analyses.row_file import Entry
from lmc_lab.analyses.store import Result, read_results, settings_of
from lmc_lab.files import DamagedFile
from lmc_lab.runs.status import peek_status
from lmc_lab.runs.subject import Part
from lmc_lab.study_plan import StudyPlan


@dataclass(frozen=True)
class Wanted:
    """A result that a study asks for."""

    analysis: str
    settings: dict[str, Any]
    subject: tuple[Part, ...]  # with all branches of the study

    def fits(self, entry: Entry) -> bool:
        """Returns whether a result is this one, perhaps of fewer branches."""
        own, other = _by_place(self.subject), _by_place(entry.subject)
        return (
            (entry.analysis, entry.settings) == (self.analysis, self.settings)
            and own.keys() == other.keys()
            and all(_known(other[place]) <= set(own[place].branches) for place in own)
        )

    def is_whole(self, entry: Entry) -> bool:
        """Returns whether a result that fits is of all branches, but for those that diverged."""
        own, other = _by_place(self.subject), _by_place(entry.subject)
        return all(_known(other[place]) == set(own[place].branches) for place in own)


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
        """Returns the results that have rows: predictions of a regression, say, have none."""
        return [result for result in self.found if not result.rows.empty]

    @property
    def left_out(self) -> list[str]:
        """Returns which branches are in no result since their training diverged, as ``trunk 0, k = 20: seed 1 (…)``."""
        parts = {part for result in self.found for part in result.entry.subject if part.diverged}
        return [
            f"{part}: {', '.join(f'seed {seed} (at step {step})' for seed, step in part.diverged)}"
            for part in sorted(parts, key=str)
        ]


def collect(plan: StudyPlan) -> StudyResults:
    """Returns what there is of a study: of each result that it asks for the most complete, the newest among equals."""
    results, damaged = read_results(plan.experiment.layout)
    collected = StudyResults([], [], [], damaged, _from_elsewhere(results))
    for wanted in _wanted(plan):
        fitting = [result for result in results if wanted.fits(result.entry)]
        if not fitting:
            collected.missing.append(wanted)
            continue
        best = max(fitting, key=_completeness)
        collected.found.append(best)
        if not wanted.is_whole(best.entry):
            collected.partial.append(wanted)
    return collected


def _from_elsewhere(results: Sequence[Result]) -> list[Result]:
    """Returns the newest result of each analysis of each set of weights from elsewhere."""
    newest = {}
    for result in sorted(results, key=lambda result: result.entry.created):
        if digests := tuple(digest for part in result.entry.subject for _, digest in part.files):
            newest[result.entry.analysis, digests] = result
    return list(newest.values())


def missing_table(plan: StudyPlan, collected: StudyResults) -> pd.DataFrame:
    """Returns a line for each trunk or mode with analyses that the study asked for and that are not there, or in part."""
    names: dict[tuple[tuple[Part, ...], str], list[str]] = {}
    for state, wanted in (("not measured", collected.missing), ("not of all branches", collected.partial)):
        for item in wanted:
            names.setdefault((item.subject, state), []).append(item.analysis)
    lines = [
        {"study": plan.name, "missing": ", ".join(analyses), "of": "; ".join(map(str, subject)), "why": "; ".join(why)}
        for (subject, state), analyses in names.items()
        for why in [list(_obstacles(plan, subject)) or [state]]
    ]
    return pd.DataFrame(lines, columns=["study", "missing", "of", "why"])


def _wanted(plan: StudyPlan) -> Iterator[Wanted]:
    for analysis in plan.measured:
        settings = settings_of(analysis, variant=plan.experiment.variant)
        for subject in analysis.subject.in_study(plan.trunks, plan.steps, plan.seeds):
            yield Wanted(analysis.name, settings, subject)


def _by_place(subject: Sequence[Part]) -> dict[tuple[int | None, int | None], Part]:
    return {(part.trunk, part.split_step): part for part in subject}


def _known(part: Part) -> set[int]:
    return {*part.branches, *(seed for seed, _ in part.diverged)}


def _completeness(result: Result) -> tuple[int, int]:
    return sum(len(part.branches) for part in result.entry.subject), result.entry.created


def _obstacles(plan: StudyPlan, subject: Sequence[Part]) -> Iterator[str]:
    """Yields what keeps a subject from being measured, read off the status files of its runs."""
    for part in subject:
        where = f"{part}: " if len(subject) > 1 else ""
        yield from (where + obstacle for obstacle in _obstacles_of(plan, part))


def _obstacles_of(plan: StudyPlan, part: Part) -> Iterator[str]:
    layout = plan.experiment.layout
    if part.trunk is None:
        return
    trunk = peek_status(layout.trunk(part.trunk))
    if trunk.get("state") == "diverged":
        yield f"the trunk diverged at step {trunk.get('step')}"
    if part.split_step is None:
        return
    split = layout.split(part.trunk, part.split_step, plan.experiment.variant)
    statuses = {seed: peek_status(split.branch(seed)) for seed in part.branches}
    states = {seed: status.get("state") for seed, status in statuses.items()}
    yield from (
        f"seed {seed} diverged at step {statuses[seed].get('step')}" for seed in states if states[seed] == "diverged"
    )
    unfinished = [str(seed) for seed, state in states.items() if state not in ("finished", "diverged")]
    if unfinished:
        yield f"not finished: seed {', '.join(unfinished)}"
