"""A table on the page: sorted at a click, copied at another, scrolled where it is wide."""

from html import escape
from typing import Any

import pandas as pd

_WORDS = 30  # characters, from which on a cell is text that may be broken into lines


def html_table(heading: str, table: pd.DataFrame, caption: str = "") -> str:
    """Returns a table with its heading, and below it what its cells mean where they do not say it."""
    name = escape(heading)
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button" class="sort">{escape(str(column))}</button></th>'
        for column in table
    )
    body = "\n".join(f"<tr>{''.join(map(_cell, line))}</tr>" for line in table.itertuples(index=False))
    below = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    return (
        f'<section class="table"><h3>{name}</h3><button type="button" class="copy" data-copies="table">copy</button>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>{below}</section>"
    )


def _cell(value: Any) -> str:
    text = str(value)
    return f'<td class="words">{escape(text)}</td>' if len(text) > _WORDS else f"<td>{escape(text)}</td>"
