"""Draws what a study has measured: ``python -m lmc_lab.report study=lenet_m``."""

import re
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from lmc_lab import cli, schema
from lmc_lab.process import heavy_imports, num_cores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lmc_lab.reporting.page import Page, Picture
    from lmc_lab.reporting.report_figure import ReportFigure
    from lmc_lab.results.folder import Result
    from lmc_lab.studies.column import StudyColumn


_OF_REPORTS = r"[+~]*(beside|export|results)\b"  # keys that `study` does not have


def main() -> None:
    """Runs the command line."""
    cli.main("report", job)


def job(config: DictConfig) -> None:
    """Writes one HTML page from the folders of results alone, prints the tables and where it is, and draws figures for papers.

    Studies named in `beside` are drawn as further columns. What a study asked for and is not there is said, with the
    command that makes it. The page comes first: what it needs is imported in a second, what draws on paper takes longer.
    """
    from pathlib import Path

    schema.check(config)
    with heavy_imports():
        from lmc_lab.construct import check_logger
        from lmc_lab.reporting.page import ONSET, write_page
        from lmc_lab.reporting.table import ABOUT_ONSETS, as_text
        from lmc_lab.results.folder import all_rows
        from lmc_lab.runs.paths import reports

    check_logger(config)
    figures = own_figures(config)
    columns = _columns(config)
    _export(config, columns)
    results = [result for column in columns for result in _of_column(column, column.collected.with_rows)]
    rows = all_rows(results)
    over_time = all_rows([result for column in columns for result in _of_column(column, column.collected.over_time)])
    page = _page(config, columns, results, rows, over_time, figures)
    folder = reports(Path(config.output_dir).absolute(), page.title)
    written = write_page(page, folder)
    shown = [as_text(page.tables[heading]) for heading in ("Modes", ONSET, "Missing") if not page.tables[heading].empty]
    notes = [] if page.tables[ONSET].empty else [ABOUT_ONSETS]
    print(*shown, *notes, *page.notes, written, sep="\n", flush=True)
    pictures = _pictures(config, rows, over_time, figures, folder)
    print(*pictures, *([] if config.export is None else [Path(config.export).absolute()]), sep="\n")
    if _is_of_wandb(config.logger):  # TensorBoard has training curves alone
        for column in columns:
            _mirror(config, column, pictures)


def _page(
    config: DictConfig,
    columns: "Sequence[StudyColumn]",
    results: "Sequence[Result]",
    rows: "DataFrame",
    over_time: "DataFrame",
    figures: "Mapping[str, ReportFigure[Figure]]",
) -> "Page":
    """Returns what the page shows."""
    from pandas import concat

    from lmc_lab.reporting.answer import answers
    from lmc_lab.reporting.cautions import cautions
    from lmc_lab.reporting.claims import claims_table
    from lmc_lab.reporting.missing import missing_table, unanswered_table
    from lmc_lab.reporting.page import ONSET, Page
    from lmc_lab.reporting.provenance import machines_of, settings_table, versions_of
    from lmc_lab.reporting.question_tables import asked_tables
    from lmc_lab.reporting.shown_examples import examples_section
    from lmc_lab.reporting.table import cost_table, mode_table, onset_table, task_table
    from lmc_lab.results.folder import all_rows

    configs = {column.name: column.collected.config for column in columns}
    elsewhere = [result for column in columns for result in _of_column(column, column.collected.elsewhere)]
    tables = {
        "Modes": mode_table(all_rows([*results, *elsewhere])),
        ONSET: onset_table(rows),
        **asked_tables(rows),
        "Missing": concat([missing_table(column.record, column.collected) for column in columns]),
        "Without an answer": unanswered_table({column.name: column.collected.found for column in columns}),
        "Table 1: tasks": task_table(configs),
        "Settings": settings_table(rows),
        "Time of the analyses": cost_table(results),
    }
    return Page(
        title="+".join(column.name for column in columns),
        rows=rows,
        rows_over_time=over_time,
        rows_elsewhere=all_rows([_of_weights(result) for result in elsewhere]),
        answers=answers(all_rows([*results, *elsewhere]), {name: _last_step(each) for name, each in configs.items()}),
        notes=[
            *(note for column in columns for note in _notes(column)),
            *_left_out(figures, rows, over_time),
            *cautions(rows),
        ],
        claims=claims_table(rows),
        own_figures=_inlined(figures, rows, over_time),
        formats=list(config.figures),
        examples=examples_section(results),
        tables=tables,
        commands=[column.record.command for column in columns if column.record],
        versions=versions_of([*results, *elsewhere]),
        machines=machines_of([*results, *elsewhere]),
    )


def _of_weights(result: "Result") -> "Result":
    """Returns a result of weights from elsewhere, which are a task of their own in figures, called by their files."""
    from dataclasses import replace
    from textwrap import shorten

    names = ", ".join(name for part in result.entry.subject for name, _ in part.files)
    return replace(result, rows=result.rows.assign(task=shorten(names, 60, placeholder=" …")))


def _last_step(config: "Mapping[str, Any]") -> int:
    return int(config["task"]["max_steps"])


def _left_out(
    figures: "Mapping[str, ReportFigure[Figure]]", rows: "DataFrame", over_time: "DataFrame"
) -> "Iterator[str]":
    """Yields a sentence about each figure of the user's that has no rows."""
    for name, figure in figures.items():
        if not figure.can_be_drawn(figure.source(rows, over_time)):
            on_the_way = " of branches on their way (study.steps)" if figure.over_time else ""
            yield f"The figure {name} is left out, since none of {', '.join(figure.needs)} was measured{on_the_way}."


def _inlined(
    figures: "Mapping[str, ReportFigure[Figure]]", rows: "DataFrame", over_time: "DataFrame"
) -> "dict[str, Picture]":
    """Returns the user's figures that have rows, as the page carries them."""
    if not figures:
        return {}
    with heavy_imports():
        from lmc_lab.reporting.page import Picture
        from lmc_lab.reporting.pictures import inlined

    return {
        name: Picture(figure.caption_of(figure_rows), inlined(figure, figure_rows))
        for name, figure in figures.items()
        for figure_rows in [figure.source(rows, over_time)]
        if figure.can_be_drawn(figure_rows)
    }


def _pictures(
    config: DictConfig,
    rows: "DataFrame",
    over_time: "DataFrame",
    figures: "Mapping[str, ReportFigure[Figure]]",
    folder: "Path",
) -> "list[Path]":
    """Draws the figures for papers, if any are asked for."""
    if not config.figures:
        return []
    with heavy_imports():
        from lmc_lab.reporting.printed import draw_figures

    formats, cores = list(config.figures), num_cores()
    return draw_figures(rows, folder, rows_over_time=over_time, own=figures, formats=formats, num_cores=cores)


def _columns(config: DictConfig) -> "list[StudyColumn]":
    """Returns the study, and those beside it, each with what there is of it, or what `results` has from elsewhere."""
    from pathlib import Path

    from hydra import compose
    from hydra.core.hydra_config import HydraConfig

    from lmc_lab.addresses import listed
    from lmc_lab.studies.column import find_column, find_in
    from lmc_lab.studies.request import folder_overrides

    if config.results:
        return _told_apart([find_in(Path(path).absolute()) for path in listed(config.results)])
    given = [item for item in HydraConfig.get().overrides.task if not re.match(_OF_REPORTS, item)]
    others = [[f"study={name}", *folder_overrides(config)] for name in config.beside]
    return _told_apart(
        [
            find_column(config, given),
            *(find_column(compose("report", overrides=overrides), overrides) for overrides in others),
        ]
    )


def _told_apart(columns: "list[StudyColumn]") -> "list[StudyColumn]":
    """Returns columns of different names: namesakes, as the same study from two machines, get a number each."""
    from dataclasses import replace

    names = [column.name for column in columns]
    numbers = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [
        replace(column, name=f"{column.name}-{number}") if names.count(column.name) > 1 else column
        for column, number in zip(columns, numbers, strict=True)
    ]


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


def own_figures(config: DictConfig) -> "dict[str, ReportFigure[Figure]]":
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


def _notes(column: "StudyColumn") -> "Iterator[str]":
    """Yields a sentence about each thing that keeps the report from being whole."""
    name, collected = column.name, column.collected
    if collected.left_out:
        yield f"Training diverged in branches of {name}, which are left out: {'; '.join(collected.left_out)}."
    for error in collected.damaged:
        yield f"Left out is a file that holds no result: {error}."
    if column.record and (collected.missing or collected.partial):
        yield f"Some of what {name} asks for is missing. This makes it: {column.record.command}"
    if any(
        result.entry.analysis == "predictions" and result.records is None and len(result.rows)
        for result in collected.found
    ):
        yield f"Examples of {name} are not shown: an exported file has rows alone; the report of its output folder shows them."


def _is_of_wandb(logger: DictConfig | None) -> bool:
    return logger is not None and logger.get("_target_") == "lmc_lab.reporting.sinks.wandb_logger"


def _mirror(config: DictConfig, column: "StudyColumn", pictures: "Sequence[Path]") -> None:
    """Logs the results of one study to Weights & Biases."""
    import hashlib
    import json
    from pathlib import Path

    from omegaconf import OmegaConf

    from lmc_lab.compose import data_loader
    from lmc_lab.reporting.sinks import ResultsMirror
    from lmc_lab.reporting.wandb_account import way_of

    mode = way_of(config.logger.mode)
    if mode is None:
        return
    where = (config.logger.project, mode, Path(config.output_dir).absolute())
    column_config = OmegaConf.create(
        column.collected.config | {"data_dir": config.data_dir, "cache_dir": config.cache_dir}
    )
    asked = None if column.record is None else column.record.asked
    key = hashlib.sha256(json.dumps([column.collected.fingerprint, asked], sort_keys=True).encode()).hexdigest()[:8]
    mirror = ResultsMirror(column.name, key, *where, column.collected.config)
    mirror.log(column.collected.with_rows, data_loader(column_config)().train, pictures)


if __name__ == "__main__":
    main()
