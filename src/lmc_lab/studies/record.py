"""What a study asks for, written down for its report."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from lmc_lab import stages
from lmc_lab.analyses.store import identity_settings
from lmc_lab.results.manifest import StudyRecord
from lmc_lab.results.part import Part, subject_text
from lmc_lab.results.wanted import Wanted
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.status import ENDED, peek_status
from lmc_lab.studies.plan import StudyPlan
from lmc_lab.versions import versions_with


def record_of(plan: StudyPlan) -> StudyRecord:
    """Returns the record of a study, with what keeps its results from being measured at this moment."""
    obstacles: dict[str, list[str]] = {}
    wanted = []
    for analysis in plan.measured:
        experiment = plan.experiment_of(analysis)
        ways = analysis.variations_of(experiment.task)
        varied = [plan.with_branches({**analysis.branch, **each}) for each in ways]
        settings = identity_settings(analysis, variant=experiment.variant)
        for subject in plan.subjects_of(analysis):
            wanted.append(Wanted(analysis.name, analysis.version, settings, subject))
            found = obstacles.setdefault(subject_text(subject), [])
            obstacles_of_all = [*_lacks_branches(experiment, subject)]  # an analysis does without those of a variation
            for each in (experiment, *varied):
                obstacles_of_all += _obstacles(each, subject)
            found += [obstacle for obstacle in dict.fromkeys(obstacles_of_all) if obstacle not in found]
    return StudyRecord(
        name=plan.name,
        asked=plan.asked,
        command=stages.shown(stages.command("study", *plan.given)),
        versions=versions_with("lmc_lab", "torch"),
        ran=time.time_ns(),
        fingerprint=plan.experiment.task.fingerprint,
        wanted=tuple(wanted),
        obstacles={subject: tuple(reasons) for subject, reasons in obstacles.items() if reasons},
    )


def _lacks_branches(experiment: Experiment, subject: Sequence[Part]) -> Iterator[str]:
    """Yields at which splits of a subject there are no branches, since no examples were chosen for them."""
    for part in subject:
        if any(status.get("state") == "left out" for status in _statuses(experiment, part).values()):
            yield f"no examples were chosen for the branches of trunk {part.trunk}, k = {part.split_step}"


def _obstacles(experiment: Experiment, subject: Sequence[Part]) -> Iterator[str]:
    """Yields what keeps a subject from being measured, read off the status files of its runs."""
    for part in subject:
        where = f"{part}: " if len(subject) > 1 else ""
        yield from (where + obstacle for obstacle in _obstacles_of(experiment, part))


def _statuses(experiment: Experiment, part: Part) -> dict[int, dict[str, Any]]:
    """Returns what the status files of a part's branches say by their seeds; nothing for a trunk, or weights from elsewhere."""
    if part.trunk is None or part.split_step is None:
        return {}
    split = experiment.paths.split(part.trunk, part.split_step, experiment.variant)
    return {seed: peek_status(split.branch(seed)) for seed in part.branches}


def _obstacles_of(experiment: Experiment, part: Part) -> Iterator[str]:
    if part.trunk is None:
        return
    trunk = peek_status(experiment.paths.trunk(part.trunk))
    if trunk.get("state") == "diverged":
        yield f"the trunk diverged at step {trunk.get('step')}"
    statuses = _statuses(experiment, part)
    states = {seed: status.get("state") for seed, status in statuses.items()}
    yield from (
        f"seed {seed} diverged at step {statuses[seed].get('step')}" for seed in states if states[seed] == "diverged"
    )
    unfinished = [str(seed) for seed, state in states.items() if state not in ENDED]
    if unfinished:
        yield f"not finished: seed {', '.join(unfinished)}"
