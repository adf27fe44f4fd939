"""What mkdocs does to links to files that the site does not have: it names them as places in the repository."""

import re
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).parent
_ON_THE_SITE = {".md", ".png", ".svg"}
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns a page's text as the site shows it; mkdocs calls this for each page."""
    folder = Path(page.file.abs_src_path).parent

    def named(link: re.Match[str]) -> str:
        text, target = link[1], (folder / link[2]).resolve()
        if target.is_relative_to(_DOCS) and target.suffix in _ON_THE_SITE:
            return link[0]
        place = f"`{target.relative_to(_DOCS.parent)}{'/' if target.is_dir() else ''}`"
        return place if text.strip("`/").endswith(target.name) else f"{text} ({place})"

    return _LINK.sub(named, markdown)
