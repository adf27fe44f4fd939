"""Runs a study, all of it: ``python -m lmc_lab.study study=lenet_m``."""

from omegaconf import DictConfig

from lmc_lab import cli


def main() -> None:
    """Runs the command line."""
    cli.main("study", job)


def job(config: DictConfig) -> None:
    """Trains the trunks, then all branches of all splits, measures every mode, and draws the report; prints each command.

    What is finished is skipped, so the same command goes on where a study stopped.
    """
    from contextlib import nullcontext
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from lmc_lab import stages
    from lmc_lab.progress import BranchProgress
    from lmc_lab.runs.layout import logs
    from lmc_lab.study_check import check_stages
    from lmc_lab.study_plan import StudyPlan

    plan = StudyPlan.of(config, given=HydraConfig.get().overrides.task)
    check_stages(plan)
    folder = logs(Path(config.output_dir).absolute())
    for stage, arguments in plan.commands().items():
        log = None if stage == "report" else folder / f"{plan.name}-{stage}.log"
        progress = BranchProgress(plan.branch_folders()) if stage == "branches" else nullcontext()
        with progress:
            stages.run(arguments, log=log)


if __name__ == "__main__":
    main()
