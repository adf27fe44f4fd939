"""Draws what a study has measured: ``python -m lmc_lab.report study=lenet_m``."""

from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.process import heavy_imports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lmc_lab.analyses.store import Result
    from lmc_lab.reporting.page import ReportFigure
    from lmc_lab.study_plan import StudyPlan
    from lmc_lab.study_results import StudyResults


def main() -> None:
    """Runs the command line."""
    cli.main("report", job)


def job(config: DictConfig) -> None:
    """Writes figures and one HTML page from the rows alone, and prints the tables and where the page is.

    Studies named in `beside` are drawn as further columns. What a study asked for and is not there is said, with the
    command that makes it.
    """
    from pathlib import Path

    schema.check(config)
    with heavy_imports():
        import pandas as pd

        from lmc_lab.analyses.store import all_rows
        from lmc_lab.compose import check_logger
        from lmc_lab.reporting.page import write_report
        from lmc_lab.reporting.table import as_text, cost_table, mode_table, onset_table, task_table
        from lmc_lab.runs.layout import reports
        from lmc_lab.study_results import collect, missing_table

    check_logger(config)
    figures = own_figures(config)
    plans = _plans(config)
    collected = [collect(plan) for plan in plans]
    results = [result for pair in zip(plans, collected, strict=True) for result in _column(*pair)]
    rows = all_rows(results)
    missing = pd.concat([missing_table(*pair) for pair in zip(plans, collected, strict=True)])
    splits = {plan.name: plan.steps for plan in plans}
    tables = {
        "Modes": mode_table(all_rows([*results, *_from_elsewhere(plans, collected)])),
        "Onset": onset_table(rows, threshold=config.onset_threshold, splits=splits),
        "Missing": missing,
        "Table 1: tasks": task_table({plan.name: _config(part) for plan, part in zip(plans, collected, strict=True)}),
        "Time of the analyses": cost_table(results),
    }
    notes = [note for pair in zip(plans, collected, strict=True) for note in _notes(*pair)]
    notes += [
        f"The figure {name} is left out, since none of {', '.join(figure.needs)} was measured."
        for name, figure in figures.items()
        if not figure.can_be_drawn(rows)
    ]
    name = "+".join(plan.name for plan in plans)
    folder = reports(Path(config.output_dir).absolute(), name)
    written = write_report(rows, tables, folder, title=name, notes=notes, figures=figures)
    if config.logger:
        for plan, part in zip(plans, collected, strict=True):
            _mirror(config, plan, part, written)
    shown = [as_text(tables[heading]) for heading in ("Modes", "Onset", "Missing") if not tables[heading].empty]
    print(*shown, *notes, *written, sep="\n")


def _plans(config: DictConfig) -> "list[StudyPlan]":
    """Returns the study, and those beside it; each was given what makes its command."""
    from hydra import compose
    from hydra.core.hydra_config import HydraConfig

    from lmc_lab.study_plan import StudyPlan, places

    given = [item for item in HydraConfig.get().overrides.task if not item.startswith("beside=")]
    others = [[f"study={name}", *places(config)] for name in config.beside]
    return [StudyPlan.of(config, given), *(StudyPlan.of(compose("report", overrides=own), own) for own in others)]


def own_figures(config: DictConfig) -> "dict[str, ReportFigure]":
    """Returns the figures that ``figure=[…]`` adds to those of the paper, by their names.

    Raises:
        UserError: a node is not what a `ReportFigure` takes.
    """
    from lmc_lab.construct import factory

    return {str(name): factory(config, f"figure.{name}")() for name in config.get("figure", {})}


def _column(plan: "StudyPlan", collected: "StudyResults") -> "list[Result]":
    """Returns the results of a study, which is a column of its own whatever its task is called."""
    from dataclasses import replace

    from lmc_lab.errors import UserError
    from lmc_lab.study_results import missing_table

    if not collected.found and not collected.elsewhere:
        diverged = [why for why in missing_table(plan, collected)["why"] if "diverged" in why]
        reasons = "; ".join([*map(str, collected.damaged), *dict.fromkeys(diverged)])
        raise UserError(
            f"expected measurements of the study '{plan.name}' in {plan.experiment.layout.results}, found none"
            f"{f' ({reasons})' if reasons else ''}; run it first: {_command(plan)}"
        )
    return [replace(result, rows=result.rows.assign(task=plan.name)) for result in collected.with_rows]


def _from_elsewhere(plans: "Sequence[StudyPlan]", collected: "Sequence[StudyResults]") -> "list[Result]":
    """Returns the results of weights from elsewhere, each in the column of the study whose task it was measured with."""
    from dataclasses import replace

    return [
        replace(result, rows=result.rows.assign(task=plan.name))
        for plan, part in zip(plans, collected, strict=True)
        for result in part.elsewhere
    ]


def _notes(plan: "StudyPlan", collected: "StudyResults") -> "Iterator[str]":
    """Yields a sentence about each thing that keeps the report from being whole."""
    if collected.left_out:
        yield f"Training diverged in branches of {plan.name}, which are left out: {'; '.join(collected.left_out)}."
    for error in collected.damaged:
        yield f"Left out is a file that holds no result: {error}."
    if collected.missing or collected.partial:
        yield f"Some of what {plan.name} asks for is missing. This makes it: {_command(plan)}"


def _command(plan: "StudyPlan") -> str:
    from lmc_lab import stages

    return stages.shown(stages.command("study", *plan.given))


def _config(collected: "StudyResults") -> "dict[str, Any]":
    """Returns the config that the newest rows were computed with."""
    return dict(max([*collected.found, *collected.elsewhere], key=lambda result: result.entry.created).entry.config)


def _mirror(config: DictConfig, plan: "StudyPlan", collected: "StudyResults", pictures: "Sequence[Path]") -> None:
    """Logs the results of one study to Weights & Biases."""
    from pathlib import Path

    from lmc_lab.reporting.sinks import ResultsMirror

    where = (config.logger.project, config.logger.mode, Path(config.output_dir).absolute())
    mirror = ResultsMirror(plan.name, *where, cast("dict[str, Any]", plan.experiment.config))
    mirror.log(collected.with_rows, plan.experiment.task.dataset.train, pictures)


if __name__ == "__main__":
    main()
