"""Draws what a study has measured: ``python -m lmc_lab.report study=lenet_m``."""

from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.process import heavy_imports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lmc_lab.analyses.store import Result
    from lmc_lab.study_plan import StudyPlan


def main() -> None:
    """Runs the command line."""
    cli.main("report", job)


def job(config: DictConfig) -> None:
    """Writes figures and one HTML page from the rows alone, and prints the tables and where the page is.

    Studies named in `beside` are drawn as further columns.
    """
    from pathlib import Path

    from hydra import compose

    schema.check(config)
    with heavy_imports():
        from lmc_lab.analyses.store import all_rows, read_config
        from lmc_lab.reporting.page import write_report
        from lmc_lab.reporting.table import as_text, cost_table, mode_table, onset_table, task_table
        from lmc_lab.runs.layout import reports
        from lmc_lab.study_plan import StudyPlan, places

    others = [compose("report", overrides=[f"study={name}", *places(config)]) for name in config.beside]
    plans = [StudyPlan.of(part) for part in (config, *others)]
    results = [result for plan in plans for result in _results(plan)]
    rows = all_rows(results)
    tables = {
        "Modes": mode_table(rows),
        "Onset": onset_table(rows, threshold=config.onset_threshold),
        "Table 1: tasks": task_table({plan.name: read_config(plan.layout()) for plan in plans}),
        "Time of the analyses": cost_table(results),
    }
    name = "+".join(plan.name for plan in plans)
    written = write_report(rows, tables, reports(Path(config.output_dir).absolute(), name), title=name)
    if config.logger:
        for plan in plans:
            _mirror(config, plan, written)
    print(as_text(tables["Modes"]), as_text(tables["Onset"]), *written, sep="\n")


def _mirror(config: DictConfig, plan: "StudyPlan", pictures: "Sequence[Path]") -> None:
    """Logs the results of one study to Weights & Biases."""
    from pathlib import Path

    from omegaconf import OmegaConf

    from lmc_lab.compose import build_experiment
    from lmc_lab.reporting.sinks import ResultsMirror

    task_config = plan.task_config()
    content = cast("dict[str, Any]", OmegaConf.to_container(task_config, resolve=True))
    where = (config.logger.project, config.logger.mode, Path(config.output_dir).absolute())
    mirror = ResultsMirror(plan.name, *where, content)
    mirror.log(plan.results(), build_experiment(task_config).task.dataset.train, pictures)


def _results(plan: "StudyPlan") -> "list[Result]":
    """Returns the results of a study, which is a column of its own whatever its task is called."""
    from dataclasses import replace

    from lmc_lab.errors import UserError

    results = plan.results()
    if not results:
        raise UserError(
            f"expected measurements of the study '{plan.name}' in {plan.layout().results}, found none; "
            f"run it first: python -m lmc_lab.study study={plan.name}"
        )
    return [replace(result, rows=result.rows.assign(task=plan.name)) for result in results]


if __name__ == "__main__":
    main()
