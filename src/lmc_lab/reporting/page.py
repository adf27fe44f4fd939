"""One folder with a report: figures as PNG and SVG and a page that shows them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lmc_lab.files import remove_leftovers, replacing, write_text
from lmc_lab.reporting.figures.functions import figure5, shared_correct
from lmc_lab.reporting.figures.hull import figure2, figure3
from lmc_lab.reporting.figures.pairs import pairs
from lmc_lab.reporting.figures.training import figure4, figure6


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report.

    Args:
        draw: makes it of the rows of all tasks, whose values are finite.
        needs: quantities; it is left out where the rows have none of them.
        caption: what it shows, as plain text.
    """

    draw: Callable[[pd.DataFrame], Figure]
    needs: Sequence[str]
    caption: str

    def can_be_drawn(self, rows: pd.DataFrame) -> bool:
        """Returns whether `rows` have a number that it needs."""
        return bool(set(self.needs) & set(_numbers(rows)["quantity"]))


_FIGURES = {
    "figure2": ReportFigure(
        figure2,
        ("p_conv",),
        "Figure 2. Top: the probability that a random point of the hull, or an equally long perturbation, has lower "
        "training loss than the nearest endpoint, with 95 % Wilson intervals over the samples of one hull. Bottom: "
        "distances. Points are trunks.",
    ),
    "figure3": ReportFigure(
        figure3,
        ("singular_value_raw",),
        "Figure 3. Singular values of the stacked endpoints, for the splits from which on the hull's centre is better than "
        "the mean endpoint, of every trunk; dotted: the number K of outputs (classes). Centred, P points span at most P - 1 "
        "dimensions.",
    ),
    "figure4": ReportFigure(
        figure4,
        ("lambda_max", "p_gap_negative"),
        "Figure 4. The ends of the Hessian's spectrum on a fixed part of the training set and their ratio, along trunks "
        "and branches; and the probability that the loss is convex between two candidate updates (Appendix B), along "
        "the trunks.",
    ),
    "figure5": ReportFigure(
        figure5,
        ("endpoint_accuracy",),
        "Figure 5. Accuracies, and the share of the training set that all endpoints of a mode, of all modes, and of as "
        "many endpoints drawn from all modes have right.",
    ),
    "shared_correct": ReportFigure(
        shared_correct, ("shared_correct",), "The share that all of a number of endpoints of a mode have right."
    ),
    "figure6": ReportFigure(
        figure6, ("train_loss",), "Figure 6. Training loss of trunks and branches; dotted: the splits."
    ),
    "pairs": ReportFigure(
        pairs,
        ("instability_loss",),
        "Linear mode connectivity of pairs of endpoints (Frankle et al. 2020), beside the hull's probabilities. "
        "Intervals: jackknife over endpoints.",
    ),
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
    notes: Sequence[str] = (),
    figures: Mapping[str, ReportFigure] | None = None,
) -> list[Path]:
    """Writes every figure that `rows` have numbers for, and index.html with them, `tables` and `notes`.

    Args:
        rows: of all tasks.
        tables: heading -> table.
        folder: for what is written.
        title: of the page.
        notes: sentences above the figures.
        figures: the user's own, by the names of their files; they follow those of the paper.

    Returns:
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    drawn = {name: figure for name, figure in {**_FIGURES, **(figures or {})}.items() if figure.can_be_drawn(rows)}
    numbers = _numbers(rows)
    written = [path for name, figure in drawn.items() for path in _save(figure.draw(numbers), folder / name)]
    page = folder / "index.html"
    write_text(page, _page(title, drawn, tables, notes))
    return [*written, page]


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[np.isfinite(rows["value"])]


def _save(figure: Figure, stem: Path) -> list[Path]:
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in paths:
        # The salt and no date: the same rows make the same file.
        with replacing(path) as temporary, matplotlib.rc_context({"svg.hashsalt": "lmc_lab"}):
            metadata = {"Date": None} if path.suffix == ".svg" else {}
            figure.savefig(temporary, format=path.suffix[1:], dpi=150, metadata=metadata)
    return paths


def _page(
    title: str, drawn: Mapping[str, ReportFigure], tables: Mapping[str, pd.DataFrame], notes: Sequence[str]
) -> str:
    remarks = "".join(f"<p>{escape(note)}</p>\n" for note in notes)
    figures = "\n".join(
        f'<figure><a href="{name}.svg"><img src="{name}.png" alt="{name}"></a>'
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
