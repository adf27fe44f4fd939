"""Writes text.txt: the first 80 kB of the language reference that comes with every Python (`help("while")`), as plain text."""

from pathlib import Path
from pydoc_data.topics import topics

Path("text.txt").write_bytes("\n".join(topics[name] for name in sorted(topics)).encode()[:80_000])
