"""The splits of a study that looks for the onset itself: trained and measured one after another, where they tell most."""

from collections.abc import Callable

from lmc_lab.landscape.onset_search import Outcomes, bracket_of, first_splits, next_split, num_reversals, width
from lmc_lab.locks import are_used
from lmc_lab.results.select import select
from lmc_lab.results.study_results import collect
from lmc_lab.studies.commands import search_commands, trunk_command
from lmc_lab.studies.plan import SearchSettings, StudyPlan
from lmc_lab.studies.record import record_of

Run = Callable[[str, list[str], StudyPlan], bool]  # (stage, its command, the plan it is of) -> whether it succeeded


def search(plan: StudyPlan, run: Run, keep: Callable[[StudyPlan], None]) -> StudyPlan:
    """Returns the plan with the splits that tell where the hull begins, which are trained and measured by now.

    A split counts for all trunks, so that their modes can be compared; the trunk whose bracket is widest decides which is
    next. What is trained and measured already is taken.

    Args:
        plan: whose splits are searched.
        run: runs a stage.
        keep: writes down what the study asks for by now, for its report.
    """
    settings = plan.search or SearchSettings()
    num_steps = plan.experiment.task.max_steps
    plan = plan.with_splits(first_splits(num_steps, known=plan.known_splits, ratio=settings.ratio))
    if not run("trunks", trunk_command(plan), plan):
        return plan
    new: list[int] = plan.steps
    while new:
        keep(plan)
        part = plan.with_splits(new)
        if not are_used() and not run("trunks", trunk_command(part), part):  # without locks no branch trains its trunk
            return plan
        for stage, command in search_commands(part).items():
            if not run(stage, command, part):
                return plan
        outcomes = outcomes_of(plan)
        splits = _next_splits(outcomes, num_steps, settings.ratio) if len(plan.splits) < settings.max_splits else []
        new = [step for step in splits if step not in plan.steps][:1]
        plan = plan.with_splits(sorted({*plan.steps, *new}))
    for trunk, found in outcomes_of(plan).items():
        print(_summary(trunk, found))
    return plan


def outcomes_of(plan: StudyPlan) -> dict[int, Outcomes]:
    """Returns at which of the study's splits `p_conv` is at least the onset's threshold, for each trunk.

    A split without a number counts as one where it is not.
    """
    found: dict[int, dict[int, bool]] = {trunk: dict.fromkeys(plan.steps, False) for trunk in plan.trunks}
    for result in collect(record_of(plan), plan.experiment.paths.results).with_rows:
        if result.entry.analysis == "convex_mode":
            (part,) = result.entry.subject
            values = select(result.rows, "p_conv", "train")["value"]
            found[part.trunk or 0][part.split_step or 0] = bool(len(values)) and bool(values.iloc[0] >= plan.threshold)
    return dict(found)


def bracket_splits(plan: StudyPlan) -> tuple[int, ...]:
    """Returns the splits between which the hull begins, of all trunks."""
    brackets = [bracket_of(outcomes) for outcomes in outcomes_of(plan).values() if outcomes]
    ends = {end for bracket in brackets for end in (bracket.failed, bracket.held)}
    return tuple(sorted(end for end in ends if end is not None))


def _next_splits(outcomes: dict[int, Outcomes], num_steps: int, ratio: float) -> list[int]:
    """Returns the next split for each trunk that wants one, of the widest bracket first."""
    widest = sorted(outcomes.values(), key=lambda of_trunk: width(of_trunk, num_steps), reverse=True)
    splits = (next_split(of_trunk, num_steps, ratio=ratio) for of_trunk in widest)
    return [step for step in splits if step is not None]


def _summary(trunk: int, outcomes: Outcomes) -> str:
    text = f"trunk {trunk}, of {len(outcomes)} splits: p_conv {bracket_of(outcomes)}"
    if count := num_reversals(outcomes):
        text += f"; it is not monotone ({count} fail after one that held), so this is the answer of these splits alone"
    return text
