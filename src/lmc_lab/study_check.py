"""What a study's stages would refuse, said before the first one is started."""

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser

from lmc_lab.compose import build_analyses, build_experiment
from lmc_lab.study_plan import StudyPlan


def check_stages(plan: StudyPlan) -> None:
    """Composes what each stage's first job will, and has it checked.

    Raises:
        UserError: a stage would refuse its config, or a split or a step that is saved lies beyond T.
    """
    plan.steps  # noqa: B018  read for what it refuses
    for command in plan.commands().values():
        entry_point, overrides = command[2].removeprefix("lmc_lab."), command[3:]
        if entry_point == "report":
            continue
        config = compose(entry_point, overrides=_first_job(overrides))
        build_experiment(config)
        if entry_point == "analyze":
            build_analyses(config)


def _first_job(arguments: list[str]) -> list[str]:
    """Returns the overrides of the first job of a sweep, without Hydra's own and without flags."""
    texts = [item for item in arguments if "=" in item and not item.startswith(("-", "hydra"))]
    overrides = OverridesParser.create().parse_overrides(texts)
    return [
        f"{item.key_or_group}={next(item.sweep_string_iterator())}"
        if item.is_sweep_override()
        else str(item.input_line)
        for item in overrides
    ]
