"""The page of a report: one file that works from disk and by mail, with the answer first and figures to touch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from lmc_lab.files import write_text
from lmc_lab.reporting.html_table import html_table
from lmc_lab.reporting.interactive.catalogue import FIGURES, ONLY_HERE
from lmc_lab.reporting.panel import Panel
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.reporting.table import ABOUT_ONSETS
from lmc_lab.results.commands import where_to_give
from lmc_lab.results.row_file import empty_frame

NAME = "report.html"
_CLAIMS = ["task", "found", "claim", "numbers"]  # what a narrow screen shows first
ONSET = "Onset"  # the heading of a table
_HINT = (
    '<p class="caption">In the figures: point at a mark to read it, drag to zoom, double-click to go back; buttons switch '
    "trunks and quantities.</p>"
)
_ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Picture:
    """A figure of the user's.

    Args:
        caption: of it.
        source: the picture itself, as the URI of its bytes.
    """

    caption: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page shows, from above to below.

    Args:
        title: of the page.
        answers: by task, in words.
        notes: sentences about what is missing, and about what to keep in mind.
        claims: table.
        rows: of all tasks.
        rows_over_time: of hulls on their way, and at their end.
        rows_elsewhere: of weights from elsewhere, each set of them a task of its own.
        own_figures: the user's, by the names of their files.
        formats: of the figures for papers beside the page.
        examples: a section.
        tables: heading -> table.
        commands: that make the numbers again.
        versions: that made them.
        machines: on whose processors.
    """

    title: str
    rows: pd.DataFrame
    rows_over_time: pd.DataFrame
    rows_elsewhere: pd.DataFrame = field(default_factory=empty_frame)
    answers: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    claims: pd.DataFrame | None = None
    own_figures: Mapping[str, Picture] = field(default_factory=dict)
    formats: Sequence[str] = ()
    examples: str = ""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    commands: Sequence[str] = ()
    versions: str = ""
    machines: Sequence[str] = ()


def write_page(page: Page, folder: Path) -> Path:
    """Writes the page into a folder, and returns its path."""
    path = folder / NAME
    write_text(path, _html(page))
    (folder / "index.html").unlink(missing_ok=True)  # the page of earlier versions, whose numbers are old now
    return path


def _html(page: Page) -> str:
    figures = {
        name: (figure, figure.drawn(rows))
        for name, figure in FIGURES.items()
        for rows in [_rows_for(figure, page)]
        if figure.can_be_drawn(rows)
    }
    data = {name: [panel.to_plain() for panel in panels if panel.traces] for name, (_, panels) in figures.items()}
    title = escape(page.title)
    parts = [
        _answer(page),
        _HINT if figures else "",
        *(_figure(name, figure.caption, page.formats) for name, (figure, _) in figures.items()),
        *(_own_figure(name, picture, page.formats) for name, picture in page.own_figures.items()),
        page.examples,
        _tables(page),
        _origin(page),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">\n'
        f"<style>{_asset('page.css')}</style></head>\n<body><header><h1>{title}</h1>"
        '<button type="button" id="theme">dark</button></header>\n<main>\n'
        + "\n".join(filter(None, parts))
        + "\n</main>\n"
        f'<script type="application/json" id="data">{_embedded(data)}</script>\n'
        f"<script>{_plotly() if data else ''}</script>\n<script>{_asset('page.js')}</script></body></html>\n"
    )


def _rows_for(figure: ReportFigure[list[Panel]], page: Page) -> pd.DataFrame:
    rows = pd.concat([page.rows, page.rows_elsewhere], ignore_index=True) if figure.of_elsewhere else page.rows
    return figure.source(rows, page.rows_over_time)


def _answer(page: Page) -> str:
    answers = "".join(
        f'<p class="answer"><strong>{escape(task)}.</strong> {escape(text)}</p>' for task, text in page.answers.items()
    )
    notes = "".join(f"<li><p>{escape(note)}</p></li>\n" for note in page.notes)
    remarks = f'<section class="notes"><h2>To keep in mind</h2><ul>{notes}</ul></section>' if notes else ""
    claims = "" if page.claims is None or page.claims.empty else _table("Claims of the paper", page.claims[_CLAIMS])
    return f"{answers}{remarks}{claims}"


def _figure(name: str, caption: str, formats: Sequence[str]) -> str:
    heading, _, rest = caption.partition(". ")
    printed = "" if name in ONLY_HERE else _links(name, formats)
    return (
        f'<section class="figure" id="{name}"><h2>{escape(heading)}</h2><div class="panels"></div>'
        f'<p class="caption">{escape(rest)}{printed}</p></section>'
    )


def _own_figure(name: str, picture: Picture, formats: Sequence[str]) -> str:
    text, shown = escape(picture.caption), escape(name)
    return (
        f'<section id="own-{shown}"><h2>{shown}</h2><img src="{picture.source}" alt="{text}">'
        f'<p class="caption">{text}{_links(name, formats)}</p></section>'
    )


def _links(name: str, formats: Sequence[str]) -> str:
    links = [f'<a href="{name}.{kind}">{kind.upper()}</a>' for kind in formats]
    return f" For papers, beside this page: {', '.join(links)}." if links else ""


def _tables(page: Page) -> str:
    shown = [
        _table(heading, table, ABOUT_ONSETS if heading == ONSET else "")
        for heading, table in page.tables.items()
        if not table.empty
    ]
    return f"<section><h2>Tables</h2>{''.join(shown)}</section>" if shown else ""


def _table(heading: str, table: pd.DataFrame, caption: str = "") -> str:
    """Returns a table, without its column of tasks where there is one task."""
    is_of_one = "task" in table and table["task"].nunique() == 1
    return html_table(heading, table.drop(columns="task") if is_of_one else table, caption)


def _origin(page: Page) -> str:
    commands = "".join(
        f'<div class="command"><button type="button" class="copy" data-copies="command">copy</button>'
        f'<pre tabindex="0">{escape(command)}</pre></div>'
        for command in page.commands
    )
    where = escape(where_to_give(page.commands))
    again = f"<p>These commands make the numbers again{where}:</p>{commands}" if commands else ""
    machines = f", on {escape(' and '.join(page.machines))}" if page.machines else ""
    versions = f"<p>Measured with {escape(page.versions)}{machines}.</p>" if page.versions else ""
    return (
        f'<section id="origin"><h2>Where the numbers come from</h2>{again}{versions}</section>'
        if again or versions
        else ""
    )


def _embedded(data: Any) -> str:
    """Returns JSON that no browser takes for the end of its script."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text()


def _plotly() -> str:
    """Returns plotly's JavaScript, which its package brings along, without importing it."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("plotly")
    return (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_text()
