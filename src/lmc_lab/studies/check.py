"""What a study's stages would refuse, said before the first one is started."""

from dataclasses import replace
from itertools import takewhile

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from lmc_lab.compose import build_analyses, build_experiment
from lmc_lab.errors import UserError
from lmc_lab.studies.commands import bracket_commands, commands
from lmc_lab.studies.plan import StudyPlan


def check_stages(plan: StudyPlan) -> None:
    """Composes what each stage's first job will, and has it checked.

    Raises:
        UserError: a stage would refuse its config, a split or a step that is saved lies beyond T, or an analysis
            reads results of others that the study does not measure, or needs more branches than it trains.
    """
    plan.check_splits()
    plan.check_reads()
    _check_plain_branches(plan)
    planned = plan.with_splits(plan.known_splits or [0]) if plan.search else plan
    for command in {**commands(planned), **bracket_commands(replace(planned, bracket=tuple(planned.steps)))}.values():
        entry_point, overrides = command[2].removeprefix("lmc_lab."), command[3:]
        if entry_point == "report":
            continue
        config = compose(entry_point, overrides=_first_job(overrides))
        build_experiment(config)
        if entry_point == "analyze":
            build_analyses(config)


def _check_plain_branches(plan: StudyPlan) -> None:
    for analysis in plan.composed:
        if analysis.plain_branches > plan.branches:
            raise UserError(
                f"expected study.branches to be at least {analysis.plain_branches}, which analysis.{analysis.name} "
                f"starts from, found {plan.branches}; train more, or set its num_endpoints to {plan.branches}"
            )


def _first_job(arguments: list[str]) -> list[str]:
    """Returns the overrides of the first job of a sweep, without Hydra's own and without flags, which follow them."""
    texts = list(takewhile(lambda item: not item.startswith("-"), arguments))
    overrides = OverridesParser.create().parse_overrides(texts)
    return [_first_value(item) for item in overrides if not item.is_hydra_override()]


def _first_value(override: Override) -> str:
    text = str(override.input_line)
    if not override.is_sweep_override():
        return text
    return f"{text.partition('=')[0]}={next(override.sweep_string_iterator())}"
