"""What the page of a report shows of studies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from textwrap import shorten
from typing import TYPE_CHECKING

import pandas as pd

from lmc_lab.process import heavy_imports
from lmc_lab.reporting.answer import answers
from lmc_lab.reporting.cautions import cautions
from lmc_lab.reporting.claims import claims_table
from lmc_lab.reporting.missing import missing_table, unanswered_table
from lmc_lab.reporting.page import ONSET, Page, Picture
from lmc_lab.reporting.provenance import machines_of, settings_table, versions_of
from lmc_lab.reporting.question_tables import asked_tables
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.reporting.shown_examples import examples_section
from lmc_lab.reporting.table import cost_table, mode_table, onset_table, task_table
from lmc_lab.results.folder import Result, all_rows
from lmc_lab.studies.column import StudyColumn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OwnFigures = Mapping[str, "ReportFigure[Figure]"]  # of the user's, by their names


def page_of(columns: Sequence[StudyColumn], figures: OwnFigures, *, formats: Sequence[str]) -> Page:
    """Returns the page of some studies, each a column of its figures.

    Args:
        columns: what there is of each study.
        figures: of the user's, beside those of the paper.
        formats: in which figures for papers are drawn, to which the page links.
    """
    results = [result for column in columns for result in _of_column(column, column.collected.with_rows)]
    elsewhere = [result for column in columns for result in _of_column(column, column.collected.elsewhere)]
    on_the_way = [result for column in columns for result in _of_column(column, column.collected.over_time)]
    everything = [*results, *elsewhere]
    rows, over_time, all_modes = all_rows(results), all_rows(on_the_way), all_rows(everything)
    last_steps = {column.name: int(column.collected.config["task"]["max_steps"]) for column in columns}
    return Page(
        title="+".join(column.name for column in columns),
        rows=rows,
        rows_over_time=over_time,
        rows_elsewhere=all_rows([_of_weights(result) for result in elsewhere]),
        answers=answers(all_modes, last_steps),
        notes=[*_notes(columns), *_left_out(figures, rows, over_time), *cautions(rows)],
        claims=claims_table(rows),
        own_figures=_inlined(figures, rows, over_time),
        formats=list(formats),
        examples=examples_section(results),
        tables={
            "Modes": mode_table(all_modes),
            ONSET: onset_table(rows),
            **asked_tables(rows),
            "Missing": pd.concat([missing_table(column.record, column.collected) for column in columns]),
            "Without an answer": unanswered_table({column.name: column.collected.found for column in columns}),
            "Table 1: tasks": task_table({column.name: column.collected.config for column in columns}),
            "Settings": settings_table(rows),
            "Time of the analyses": cost_table(results),
        },
        commands=[column.record.command for column in columns if column.record],
        versions=versions_of(everything),
        machines=machines_of(everything),
    )


def _of_column(column: StudyColumn, results: Sequence[Result]) -> list[Result]:
    """Returns results of a study, which is a column of its own whatever its task is called."""
    return [replace(each, rows=each.rows.assign(task=column.name)) for each in results]


def _of_weights(result: Result) -> Result:
    """Returns a result of weights from elsewhere, which are a task of their own in figures, called by their files."""
    names = ", ".join(name for part in result.entry.subject for name, _ in part.files)
    return replace(result, rows=result.rows.assign(task=shorten(names, 60, placeholder=" …")))


def _notes(columns: Sequence[StudyColumn]) -> Iterator[str]:
    """Yields a sentence about each thing that keeps the report from being whole."""
    for column in columns:
        name, collected = column.name, column.collected
        if collected.left_out:
            yield f"Training diverged in branches of {name}, which are left out: {'; '.join(collected.left_out)}."
        for error in collected.damaged:
            yield f"Left out is a file that holds no result: {error}."
        if column.record and (collected.missing or collected.partial):
            yield f"Some of what {name} asks for is missing. This makes it: {column.record.command}"
        if any(map(_has_examples_elsewhere, collected.found)):
            yield (
                f"Examples of {name} are not shown: an exported file has rows alone; "
                "the report of its output folder shows them."
            )


def _has_examples_elsewhere(result: Result) -> bool:
    return result.entry.analysis == "predictions" and result.records is None and bool(len(result.rows))


def _left_out(figures: OwnFigures, rows: pd.DataFrame, over_time: pd.DataFrame) -> Iterator[str]:
    """Yields a sentence about each figure of the user's that has no rows."""
    for name, figure in figures.items():
        if not figure.can_be_drawn(figure.source(rows, over_time)):
            on_the_way = " of branches on their way (study.steps)" if figure.over_time else ""
            yield f"The figure {name} is left out, since none of {', '.join(figure.needs)} was measured{on_the_way}."


def _inlined(figures: OwnFigures, rows: pd.DataFrame, over_time: pd.DataFrame) -> dict[str, Picture]:
    """Returns the user's figures that have rows, as the page carries them."""
    if not figures:
        return {}
    with heavy_imports():
        from lmc_lab.reporting.pictures import inlined

    return {
        name: Picture(figure.caption_of(figure_rows), inlined(figure, figure_rows))
        for name, figure in figures.items()
        for figure_rows in [figure.source(rows, over_time)]
        if figure.can_be_drawn(figure_rows)
    }
