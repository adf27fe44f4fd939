"""The figures for papers, drawn by matplotlib into files beside the page, and again only where something changed."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lmc_lab.files import peek_json, remove_leftovers, write_json, write_text
from lmc_lab.reporting.figures.catalogue import FIGURES
from lmc_lab.reporting.pictures import draw_all, files_of
from lmc_lab.reporting.report_figure import ReportFigure

_MARKS = "figures.json"  # of what the files were drawn
_CAPTIONS = "captions.txt"


def draw_figures(
    rows: pd.DataFrame,
    folder: Path,
    *,
    rows_over_time: pd.DataFrame | None = None,
    only: Collection[str] | None = None,
    own: Mapping[str, ReportFigure[Figure]] | None = None,
    formats: Sequence[str] = ("png", "svg", "pdf"),
    num_cores: int = 1,
) -> list[Path]:
    """Draws every figure that `rows` have numbers for, and writes their captions beside them.

    Args:
        rows: of all tasks.
        folder: for what is written.
        rows_over_time: of hulls on their way, and at their end.
        only: of the package's figures those with these names; None: all.
        own: the user's, by the names of their files; they follow those of the paper.
        formats: of the files; none: nothing is drawn.
        num_cores: that draw.

    Returns:
        The files of figures.
    """
    if not formats:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    of_users, over_time_ = own or {}, rows.iloc[:0] if rows_over_time is None else rows_over_time

    def rows_of(figure: ReportFigure[Figure]) -> pd.DataFrame:
        return figure.source(rows, over_time_)

    chosen = {**{name: figure for name, figure in FIGURES.items() if only is None or name in only}, **of_users}
    drawn = {name: figure for name, figure in chosen.items() if figure.can_be_drawn(rows_of(figure))}
    users = {name: figure for name, figure in drawn.items() if name in of_users}
    shipped = {name: figure for name, figure in drawn.items() if name not in of_users}
    known = peek_json(folder / _MARKS)
    marks = draw_all(shipped, users, rows_of, folder, known=known, formats=formats, num_cores=num_cores)
    if marks != known:
        write_json(folder / _MARKS, marks)
    if drawn:
        captions = (f"{name}\n{figure.caption_of(rows_of(figure))}\n" for name, figure in drawn.items())
        write_text(folder / _CAPTIONS, "\n".join(captions))
    return [path for name in drawn for path in files_of(folder, name, formats)]
