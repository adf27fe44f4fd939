"""Figures as files: drawn only where something changed, by as many processes as there are cores."""

import hashlib
import logging
import multiprocessing
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

import lmc_lab
from lmc_lab.files import replacing
from lmc_lab.reporting.figures.style import PAPER
from lmc_lab.reporting.report_figure import ReportFigure
from lmc_lab.results.folder import file_digest
from lmc_lab.results.select import in_order

_DPI = 300  # of pictures; what printers ask for


def draw_all(
    shipped: Mapping[str, ReportFigure[Figure]],
    own: Mapping[str, ReportFigure[Figure]],
    rows_of: Callable[[ReportFigure[Figure]], pd.DataFrame],
    folder: Path,
    *,
    known: Mapping[str, str] = MappingProxyType({}),
    formats: Sequence[str] = ("png", "svg"),
    num_cores: int = 1,
) -> dict[str, str]:
    """Draws figures into files, of those of this package only what is not there already.

    Args:
        shipped: figures of this package, by the names of their files: the same code draws the same of the same rows.
        own: the user's, which may depend on anything.
        rows_of: returns the rows of all tasks for a figure.
        folder: for the files.
        known: the marks of what was drawn before.
        formats: of the files: png, svg, pdf.
        num_cores: how many processes draw; the user's own figures are drawn by this one, where their errors are reported.

    Returns:
        The mark of each figure of this package, which says of what its files were drawn, and which files these are.
    """
    files = {name: files_of(folder, name, formats) for name in {**shipped, **own}}
    sources = {name: _digest_of(in_order(figure.rows_of(rows_of(figure)))) for name, figure in shipped.items()}
    changed = [name for name in shipped if known.get(name) != _mark(sources[name], files[name])]
    _in_processes([partial(_draw, shipped[name], rows_of(shipped[name]), files[name]) for name in changed], num_cores)
    for name, figure in own.items():
        _draw(figure, rows_of(figure), files[name])
    return {name: _mark(sources[name], files[name]) for name in shipped}


def inlined(figure: ReportFigure[Figure], rows: pd.DataFrame) -> str:
    """Returns the picture of a figure as the URI of its bytes, which a page carries in itself."""
    content = BytesIO()
    with matplotlib.rc_context(PAPER):
        laid_out(figure.drawn(in_order(rows))).savefig(content, format="png")
    return f"data:image/png;base64,{b64encode(content.getvalue()).decode()}"


def files_of(folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Returns the files of a figure."""
    return [folder / f"{name}.{kind}" for kind in formats]


def write_figure(draw: Callable[[], Figure], paths: Sequence[Path]) -> None:
    """Draws a figure as those for papers look, and writes it into files, whose endings say their formats."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs each table of a font that a PDF embeds
    with matplotlib.rc_context(PAPER):
        drawn = laid_out(draw())
        for path in paths:
            _save(drawn, path)


def _draw(figure: ReportFigure[Figure], rows: pd.DataFrame, paths: Sequence[Path]) -> None:
    write_figure(lambda: figure.drawn(in_order(rows)), paths)


def laid_out(figure: Figure) -> Figure:
    """Returns the figure with its layout fixed: that of one renderer, whichever formats are written, and in which order."""
    figure.set_dpi(_DPI)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _save(figure: Figure, path: Path) -> None:
    # The salt and no date: the same rows make the same file.
    options: dict[str, dict[str, Any]] = {
        "png": {"pil_kwargs": {"compress_level": 6}},
        "svg": {"metadata": {"Date": None}},
        "pdf": {"metadata": {"CreationDate": None}},
    }
    settings: Any = {"svg.hashsalt": "lmc_lab", "pdf.fonttype": 42}  # of TrueType, which publishers ask for
    kind = path.suffix[1:]
    with replacing(path) as temporary, matplotlib.rc_context(settings):
        figure.savefig(temporary, format=kind, dpi=_DPI, **options[kind])


def _in_processes(tasks: Sequence[Callable[[], None]], number: int) -> None:
    """Runs the tasks in this process and in others that are forked from it; returns when all are done.

    What another process failed to do is done again in this one, where an error is reported.
    """
    context = multiprocessing.get_context("fork")  # it has the imports and the rows
    parts = [tasks[i::number] for i in range(number) if tasks[i::number]]
    others = [(part, context.Process(target=_run_quietly, args=(part,))) for part in parts[1:]]
    for _, process in others:
        process.start()
    _run(parts[0] if parts else [])
    for part, process in others:
        process.join()
        if process.exitcode != 0:
            _run(part)


def _run(tasks: Sequence[Callable[[], None]]) -> None:
    for task in tasks:
        task()


def _run_quietly(tasks: Sequence[Callable[[], None]]) -> None:
    try:
        _run(tasks)
    except BaseException:
        sys.exit(1)


def _mark(source: str, paths: Sequence[Path]) -> str:
    digests = [file_digest(path) if path.exists() else "" for path in paths]
    return hashlib.sha256(" ".join([source, *digests]).encode()).hexdigest()


def _digest_of(rows: pd.DataFrame) -> str:
    """Returns the digest of all that a figure of this package depends on."""
    return hashlib.sha256(_code() + pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()).hexdigest()


@cache
def _code() -> bytes:
    """Returns the digest of what draws: this package, matplotlib and the user's settings of it."""
    settings = Path(matplotlib.matplotlib_fname())
    sources = sorted(Path(lmc_lab.__file__).parent.rglob("*.py"))
    digest = hashlib.sha256(version("matplotlib").encode())
    for path in [settings, *sources]:
        digest.update(path.read_bytes())
    return digest.digest()
