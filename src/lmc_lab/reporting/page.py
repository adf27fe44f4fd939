"""One folder with a report: figures as PNG and SVG and a page that shows them."""

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from lmc_lab.files import replacing, write_text
from lmc_lab.reporting import figures
from lmc_lab.reporting.table import mode_table

_FIGURES = {
    "figure2": (
        figures.figure2,
        "Figure 2. Top: the probability that a random point of the hull, or an equally long perturbation, has lower "
        "training loss than the nearest endpoint, with 95 % Wilson intervals over the samples of one hull. Bottom: "
        "distances. Points are trunks.",
    ),
}

_STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
img { max-width: 100% } figure { margin: 2rem 0 } figcaption { color: #555; max-width: 48rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: 14px; white-space: nowrap }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd }"""


def write_report(rows: pd.DataFrame, folder: Path, *, title: str) -> list[Path]:
    """Writes every figure that `rows` have data for, and index.html; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    captions: dict[str, str] = {}
    for name, (draw, caption) in _FIGURES.items():
        written += _save(draw(rows), folder / name)
        captions[name] = caption
    page = folder / "index.html"
    write_text(page, _page(title, captions, mode_table(rows)))
    return [*written, page]


def _save(figure: Figure, stem: Path) -> list[Path]:
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in paths:
        # The salt and no date: the same rows make the same file.
        with replacing(path) as temporary, matplotlib.rc_context({"svg.hashsalt": "lmc_lab"}):
            figure.savefig(
                temporary, format=path.suffix[1:], dpi=150, metadata={"Date": None} if path.suffix == ".svg" else {}
            )
    return paths


def _page(title: str, captions: dict[str, str], table: pd.DataFrame) -> str:
    shown = "\n".join(
        f'<figure><a href="{name}.svg"><img src="{name}.png" alt="{name}"></a><figcaption>{caption}</figcaption></figure>'
        for name, caption in captions.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style>'
        f'<h1>{title}</h1>\n{shown}\n<h2>Modes</h2>\n<div class="scroll">{table.to_html(index=False, border=0)}</div></html>\n'
    )
