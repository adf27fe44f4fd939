"""Draws what a study has measured: ``python -m lmc_lab.report study=lenet_m``."""

from omegaconf import DictConfig

from lmc_lab import cli


def main() -> None:
    """Runs the command line."""
    cli.main("report", job)


def job(config: DictConfig) -> None:
    """Writes figures and one HTML page from the rows alone, and prints the tables and where the page is.

    Studies named in `beside` are drawn as further columns.
    """
    from pathlib import Path

    import pandas as pd
    from hydra import compose

    from lmc_lab.analyses.store import read_config
    from lmc_lab.errors import UserError
    from lmc_lab.reporting.page import write_report
    from lmc_lab.reporting.table import as_text, mode_table, onset_table
    from lmc_lab.runs.layout import reports
    from lmc_lab.study_plan import StudyPlan, places

    others = [compose("report", overrides=[f"study={name}", *places(config)]) for name in config.beside]
    plans = [StudyPlan.of(part) for part in (config, *others)]
    frames = []
    for plan in plans:
        rows = plan.results()
        if rows.empty:
            raise UserError(
                f"expected measurements of the study '{plan.name}' in {plan.layout().results}, found none; "
                f"run it first: python -m lmc_lab.study study={plan.name}"
            )
        frames.append(rows.assign(task=plan.name))
    rows = pd.concat(frames, ignore_index=True)
    name = "+".join(plan.name for plan in plans)
    configs = {plan.name: read_config(plan.layout()) for plan in plans}
    written = write_report(rows, configs, reports(Path(config.output_dir).absolute(), name), title=name)
    print(as_text(mode_table(rows)), as_text(onset_table(rows)), *written, sep="\n")


if __name__ == "__main__":
    main()
