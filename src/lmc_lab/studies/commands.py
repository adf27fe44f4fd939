"""The commands of a study's stages, and the folders of the branches that they train."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from lmc_lab import stages
from lmc_lab.analyses.base import Analysis
from lmc_lab.runs.paths import RunFolder
from lmc_lab.runs.subject import Subject
from lmc_lab.studies.branches import BranchStage
from lmc_lab.studies.plan import StudyPlan, steps_of
from lmc_lab.values import overrides_of

Commands = dict[str, list[str]]  # stage -> its command, in their order


def commands(plan: StudyPlan) -> Commands:
    """Returns the stages of a study whose splits are known, but for those that wait for the onset to be known."""
    stages_of = {
        "trunks": trunk_command(plan),
        **{name: _branches(plan, stage) for name, stage in plan.training.items()},
        **{kind.stage: _of_kind(plan, kind) for kind in _kinds(plan)},
        "report": stages.command("report", *plan.given),
    }
    return {name: command for name, command in stages_of.items() if command}


def trunk_command(plan: StudyPlan) -> list[str]:
    """Returns the command that trains the trunks."""
    saving = _saving(steps_of(plan.measured, of_branches=False))
    return _sweep(plan, "train", f"split_step=[{_list(plan.splits)}]", _trunks(plan), *saving, *_logger(plan))


def search_commands(plan: StudyPlan) -> Commands:
    """Returns the commands that measure whether the hull is convex at the plan's splits."""
    measured = [analysis for analysis in plan.composed if analysis.name == "convex_mode"]
    return {"branches": _branches(plan, plan.training["branches"]), "search": _measuring(plan, measured)}


def bracket_commands(plan: StudyPlan) -> Commands:
    """Returns what is trained and measured at the bracket of the onset, with the plan of these splits and 2P branches."""
    analyses = [analysis for analysis in plan.composed if analysis.at_bracket]
    if not analyses or not plan.bracket:
        return {}
    at_bracket = plan_at_bracket(plan)
    training = {name: _branches(at_bracket, stage) for name, stage in plan.bracket_training.items()}
    return {**training, "bracket": _measuring(at_bracket, analyses)}


def plan_at_bracket(plan: StudyPlan) -> StudyPlan:
    """Returns the study with the splits and the branches of the bracket."""
    return replace(plan.with_splits(plan.bracket), branches=len(plan.bracket_seeds))


def branch_folders(plan: StudyPlan, name: str = "branches") -> list[RunFolder]:
    """Returns the folders of the branches that a stage trains, none if it does not."""
    stage = {**plan.training, **plan.bracket_training}.get(name)
    if stage is None:
        return []
    return [
        experiment.paths.split(trunk, step, experiment.variant).branch(seed)
        for experiment in map(plan.with_branches, stage.ways)
        for trunk in plan.trunks
        for step in plan.steps
        for seed in plan.seeds
    ]


def _branches(plan: StudyPlan, stage: BranchStage) -> list[str]:
    """Returns the command that trains the branches of a stage."""
    where = (_trunks(plan), f"split_step={_list(plan.splits)}", f"seed=range({plan.branches})")
    return _sweep(
        plan,
        "train",
        *where,
        *stage.overrides,
        *_saving(_steps_on_the_way(plan, stage.analyses)),
        *_logger(plan),
    )


def _steps_on_the_way(plan: StudyPlan, analyses: Sequence[Analysis]) -> list[int]:
    of_hulls = plan.steps_on_the_way if any(analysis.over_time for analysis in analyses) else []
    steps = {*steps_of(analyses, of_branches=True), *of_hulls}
    return sorted(step for step in steps if any(plan.experiment.is_on_the_way(step, split) for split in plan.steps))


def _kinds(plan: StudyPlan) -> list[type[Subject]]:
    """Returns the kinds of subjects that are measured, those made of results last."""
    kinds = dict.fromkeys(analysis.subject for analysis in plan.composed if not analysis.at_bracket)
    return sorted(kinds, key=lambda kind: not kind.has_tensors)


def _of_kind(plan: StudyPlan, kind: type[Subject]) -> list[str]:
    """Returns the command of the analyses of one kind of subject, or nothing if the study has no such subject."""
    analyses = [analysis for analysis in plan.composed if analysis.subject is kind and not analysis.at_bracket]
    if not kind.in_study(plan.trunks, plan.steps, plan.seeds):
        return []
    steps = plan.steps_on_the_way if any(analysis.over_time for analysis in analyses) else []
    return _measuring(plan, analyses, *([f"steps=[{_list(steps)}]"] if steps else []))


def _measuring(plan: StudyPlan, analyses: Sequence[Analysis], *further: str) -> list[str]:
    """Returns the command that measures analyses of one kind of subject."""
    names = [analysis.name for analysis in analyses]
    settings = [item for each in analyses for item in overrides_of(f"analysis.{each.name}", plan.own_settings(each))]
    where = analyses[0].subject.sweep(_list(plan.trunks), _list(plan.splits), _list(plan.seeds))
    return _sweep(
        plan, "analyze", f"analysis=[{_list(names)}]", *plan.analysis_settings(names), *settings, *further, *where
    )


def _sweep(plan: StudyPlan, entry_point: str, *overrides: str) -> list[str]:
    return stages.command(entry_point, *plan.shared, *overrides, *plan.sweep, multirun=True)


def _trunks(plan: StudyPlan) -> str:
    return f"trunk_seed={_list(plan.trunks)}"


def _logger(plan: StudyPlan) -> list[str]:
    return [item for item in plan.given if re.match(r"[+~]*logger\b", item)]


def _saving(steps: Sequence[int]) -> list[str]:
    return [f"run.save_steps=[{_list(steps)}]"] if steps else []


def _list(values: Iterable[Any]) -> str:
    return ",".join(str(value) for value in values)
