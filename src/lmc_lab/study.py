"""Runs a study, all of it: ``python -m lmc_lab.study study=lenet_m``."""

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lmc_lab import cli

if TYPE_CHECKING:
    from pathlib import Path

    from lmc_lab.failures import Failures
    from lmc_lab.studies.plan import StudyPlan


def main() -> None:
    """Runs the command line."""
    cli.main("study", job)


def job(config: DictConfig) -> None:
    """Trains the trunks, then all branches of all splits, measures every mode, and draws the report; prints each command.

    What is finished is skipped, so the same command goes on where a study stopped. A stage that fails does not keep
    later ones from what they can do (but for trunks none of which came to a split), nor the report from what there is.
    """
    from dataclasses import replace
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from lmc_lab.failures import Failures
    from lmc_lab.locks import use_locks
    from lmc_lab.report import own_figures
    from lmc_lab.results.manifest import keep_study
    from lmc_lab.runs.paths import logs
    from lmc_lab.studies.check import check_stages
    from lmc_lab.studies.commands import bracket_commands, commands, plan_at_bracket
    from lmc_lab.studies.plan import StudyPlan, launcher_of
    from lmc_lab.studies.record import record_of
    from lmc_lab.studies.search import bracket_splits, search

    use_locks(config.locks)
    given = HydraConfig.get().overrides
    plan = StudyPlan.of(config, given=given.task, launcher=launcher_of(given.hydra))
    check_stages(plan)
    own_figures(config)  # the report's, which would refuse them when all is trained
    failures = Failures("stage of the study")

    def keep(found: StudyPlan) -> None:
        keep_study(found.experiment.paths.results, record_of(found))

    def run(stage: str, command: list[str], of: StudyPlan) -> bool:
        if not _can_run(stage, of, failures):
            return False
        with failures.collected(stage):
            _run(stage, command, of, logs(Path(config.output_dir).absolute()))
        return stage not in failures

    if plan.search:
        plan = search(plan, run, keep)
    keep(plan)
    *measuring, report = commands(plan).items()
    for stage, command in measuring:
        run(stage, command, plan)
    if plan.needs_bracket:
        plan = replace(plan, bracket=bracket_splits(plan))
        for stage, command in bracket_commands(plan).items():
            run(stage, command, plan_at_bracket(plan))
    keep(plan)  # once more, with what is in the way of results now
    run(*report, plan)
    failures.tell()


def _can_run(stage: str, plan: "StudyPlan", failures: "Failures") -> bool:
    from lmc_lab.results.study_results import collect
    from lmc_lab.studies.record import record_of

    if stage == "report" and failures:
        return bool(collect(record_of(plan), plan.experiment.paths.results).found)
    return "trunks" not in failures or plan.has_split


def _run(stage: str, command: list[str], plan: "StudyPlan", folder: "Path") -> None:
    from contextlib import nullcontext

    from lmc_lab import stages
    from lmc_lab.progress import BranchProgress
    from lmc_lab.studies.commands import branch_folders

    progress = BranchProgress(folders) if (folders := branch_folders(plan, stage)) else nullcontext()
    with progress:
        stages.run(command, log=None if stage == "report" else folder / f"{plan.name}-{stage}.log")


if __name__ == "__main__":
    main()
