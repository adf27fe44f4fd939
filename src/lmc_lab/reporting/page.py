"""One folder with a report: figures as PNG and SVG and a page that shows them."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from lmc_lab.files import remove_leftovers, write_text
from lmc_lab.reporting.figures import figure2, figure3, figure4, figure5, figure6, over_time, pairs, shared_correct
from lmc_lab.reporting.pictures import draw_all, files_of
from lmc_lab.reporting.report_figure import ReportFigure

_FIGURES = {
    "figure2": figure2.FIGURE,
    "over_time": over_time.FIGURE,
    "figure3": figure3.FIGURE,
    "figure4": figure4.FIGURE,
    "figure5": figure5.FIGURE,
    "shared_correct": shared_correct.FIGURE,
    "figure6": figure6.FIGURE,
    "pairs": pairs.FIGURE,
}

_STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
img { max-width: 100% } figure { margin: 2rem 0 } figcaption { color: #555; max-width: 48rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: 14px; white-space: nowrap }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd }"""


def write_report(
    rows: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    folder: Path,
    *,
    title: str,
    rows_over_time: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    figures: Mapping[str, ReportFigure] | None = None,
    num_cores: int = 1,
) -> list[Path]:
    """Writes every figure that `rows` have numbers for, and index.html with them, `tables` and `notes`.

    Args:
        rows: of all tasks.
        rows_over_time: of hulls on their way, and at their end.
        tables: heading -> table.
        folder: for what is written.
        title: of the page.
        notes: sentences above the figures.
        figures: the user's own, by the names of their files; they follow those of the paper.
        num_cores: that draw.

    Returns:
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    of_users = figures or {}
    over_time = rows.iloc[:0] if rows_over_time is None else rows_over_time

    def rows_of(figure: ReportFigure) -> pd.DataFrame:
        return over_time if figure.over_time else rows

    drawn = {name: figure for name, figure in {**_FIGURES, **of_users}.items() if figure.can_be_drawn(rows_of(figure))}
    own = {name: figure for name, figure in drawn.items() if name in of_users}
    shipped = {name: figure for name, figure in drawn.items() if name not in of_users}
    page = folder / "index.html"
    known = page.read_text(errors="replace") if page.exists() else ""
    marks = draw_all(shipped, own, rows_of, folder, known=known, num_cores=num_cores)
    write_text(page, _page(title, drawn, marks, tables, notes))
    return [*(path for name in drawn for path in files_of(folder, name)), page]


def _page(
    title: str,
    drawn: Mapping[str, ReportFigure],
    marks: Mapping[str, str],
    tables: Mapping[str, pd.DataFrame],
    notes: Sequence[str],
) -> str:
    remarks = "".join(f"<p>{escape(note)}</p>\n" for note in notes)
    figures = "\n".join(
        f'<figure data-drawn="{marks.get(name, "")}"><a href="{name}.svg"><img src="{name}.png" alt="{name}"></a>'
        f"<figcaption>{escape(item.caption)}</figcaption></figure>"
        for name, item in drawn.items()
    )
    sections = "\n".join(
        f'<h2>{heading}</h2>\n<div class="scroll">{table.to_html(index=False, border=0)}</div>'
        for heading, table in tables.items()
        if not table.empty
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style>\n'
        f"<h1>{escape(title)}</h1>\n{remarks}{figures}\n{sections}\n</html>\n"
    )
