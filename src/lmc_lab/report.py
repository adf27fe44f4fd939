"""Draws what a study has measured: ``python -m lmc_lab.report study=lenet_m``."""

from omegaconf import DictConfig

from lmc_lab import cli


def main() -> None:
    """Runs the command line."""
    cli.main("report", job)


def job(config: DictConfig) -> None:
    """Writes figures and one HTML page from the rows alone, and prints the table and where the page is."""
    from pathlib import Path

    from lmc_lab.analyses.store import read_results
    from lmc_lab.errors import UserError
    from lmc_lab.reporting.page import write_report
    from lmc_lab.reporting.table import as_text, mode_table
    from lmc_lab.runs.layout import reports
    from lmc_lab.study_plan import StudyPlan

    plan = StudyPlan.of(config)
    rows = read_results(plan.layout())
    if rows.empty:
        raise UserError(
            f"expected measurements of the study '{plan.name}' in {plan.layout().results}, found none; "
            f"run it first: python -m lmc_lab.study study={plan.name}"
        )
    folder = reports(Path(config.output_dir).absolute(), plan.name)
    written = write_report(rows, folder, title=plan.name)
    print(as_text(mode_table(rows)))
    for path in written:
        print(path)


if __name__ == "__main__":
    main()
