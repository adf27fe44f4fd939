"""Draws what a study has measured: ``python -m lmc_lab.report study=lenet_m``."""

from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.process import heavy_imports, num_cores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lmc_lab.reporting.report_figure import ReportFigure
    from lmc_lab.results.folder import Result
    from lmc_lab.study_column import StudyColumn


def main() -> None:
    """Runs the command line."""
    cli.main("report", job)


def job(config: DictConfig) -> None:
    """Writes figures and one HTML page from the folders of results alone, and prints the tables and where the page is.

    Studies named in `beside` are drawn as further columns. What a study asked for and is not there is said, with the
    command that makes it.
    """
    from pathlib import Path

    schema.check(config)
    with heavy_imports():
        import pandas as pd

        from lmc_lab.construct import check_logger
        from lmc_lab.reporting.claims import claims_table
        from lmc_lab.reporting.page import write_report
        from lmc_lab.reporting.table import as_text, cost_table, missing_table, mode_table, onset_table, task_table
        from lmc_lab.results.folder import all_rows
        from lmc_lab.runs.paths import reports

    check_logger(config)
    figures = own_figures(config)
    columns = _columns(config)
    _export(config, columns)
    results = [result for column in columns for result in _of_column(column, column.collected.with_rows)]
    rows = all_rows(results)
    over_time = all_rows([result for column in columns for result in _of_column(column, column.collected.over_time)])
    tables = {
        "Claims of the paper": claims_table(rows),
        "Modes": mode_table(all_rows([*results, *_from_elsewhere(columns)])),
        "Onset": onset_table(rows),
        "Missing": pd.concat([missing_table(column.record, column.collected) for column in columns]),
        "Table 1: tasks": task_table({column.name: column.collected.config for column in columns}),
        "Time of the analyses": cost_table(results),
    }
    notes = [note for column in columns for note in _notes(column)]
    notes += [
        f"The figure {name} is left out, since none of {', '.join(figure.needs)} was measured"
        f"{' of branches on their way (study.steps)' if figure.over_time else ''}."
        for name, figure in figures.items()
        if not figure.can_be_drawn(over_time if figure.over_time else rows)
    ]
    name = "+".join(column.name for column in columns)
    folder = reports(Path(config.output_dir).absolute(), name)
    written = write_report(
        rows,
        tables,
        folder,
        title=name,
        rows_over_time=over_time,
        notes=notes,
        figures=figures,
        num_cores=num_cores(),
    )
    if config.logger:
        for column in columns:
            _mirror(config, column, written)
    shown = [as_text(tables[heading]) for heading in ("Modes", "Onset", "Missing") if not tables[heading].empty]
    print(*shown, *notes, *written, sep="\n")


def _columns(config: DictConfig) -> "list[StudyColumn]":
    """Returns the study, and those beside it, each with what there is of it, or what `results` has from elsewhere."""
    from pathlib import Path

    from hydra import compose
    from hydra.core.hydra_config import HydraConfig

    from lmc_lab.addresses import listed
    from lmc_lab.study_column import find_column, find_in
    from lmc_lab.study_request import places

    if config.results:
        return [find_in(Path(place).absolute()) for place in listed(config.results)]
    given = [item for item in HydraConfig.get().overrides.task if not item.startswith("beside=")]
    others = [[f"study={name}", *places(config)] for name in config.beside]
    return [find_column(config, given), *(find_column(compose("report", overrides=own), own) for own in others)]


def _export(config: DictConfig, columns: "Sequence[StudyColumn]") -> None:
    """Writes the study into one file, if one is asked for.

    Raises:
        UserError: there is no study, or several.
    """
    from pathlib import Path

    from lmc_lab.errors import UserError
    from lmc_lab.results.bundle import write_bundle

    if config.export is None:
        return
    if len(columns) != 1 or columns[0].record is None:
        raise UserError(f"expected one study to export, found {len(columns)} columns; leave out beside and results")
    write_bundle(columns[0].record, columns[0].collected, Path(config.export).absolute())


def own_figures(config: DictConfig) -> "dict[str, ReportFigure]":
    """Returns the figures that ``figure=[…]`` adds to those of the paper, by their names.

    Raises:
        UserError: a node is not what a `ReportFigure` takes.
    """
    from lmc_lab.construct import factory

    return {str(name): factory(config, f"figure.{name}")() for name in config.get("figure", {})}


def _of_column(column: "StudyColumn", results: "Sequence[Result]") -> "list[Result]":
    """Returns results of a study, which is a column of its own whatever its task is called."""
    from dataclasses import replace

    return [replace(each, rows=each.rows.assign(task=column.name)) for each in results]


def _from_elsewhere(columns: "Sequence[StudyColumn]") -> "list[Result]":
    """Returns the results of weights from elsewhere, each in the column of the study whose task it was measured with."""
    return [result for column in columns for result in _of_column(column, column.collected.elsewhere)]


def _notes(column: "StudyColumn") -> "Iterator[str]":
    """Yields a sentence about each thing that keeps the report from being whole."""
    name, collected = column.name, column.collected
    if collected.left_out:
        yield f"Training diverged in branches of {name}, which are left out: {'; '.join(collected.left_out)}."
    for error in collected.damaged:
        yield f"Left out is a file that holds no result: {error}."
    if column.record and (collected.missing or collected.partial):
        yield f"Some of what {name} asks for is missing. This makes it: {column.record.command}"


def _mirror(config: DictConfig, column: "StudyColumn", pictures: "Sequence[Path]") -> None:
    """Logs the results of one study to Weights & Biases."""
    from pathlib import Path

    from omegaconf import OmegaConf

    from lmc_lab.compose import data_loader
    from lmc_lab.reporting.sinks import ResultsMirror

    where = (config.logger.project, config.logger.mode, Path(config.output_dir).absolute())
    own = OmegaConf.create(column.collected.config | {"data_dir": config.data_dir, "cache_dir": config.cache_dir})
    mirror = ResultsMirror(column.name, *where, column.collected.config)
    mirror.log(column.collected.with_rows, data_loader(own)().train, pictures)


if __name__ == "__main__":
    main()
