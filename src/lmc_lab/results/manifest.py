"""The manifest of a folder of results: which studies asked for them, and what is in the folder."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmc_lab.files import DamagedFile, OtherFormat, peek_json, read_json_or_set_aside, write_json
from lmc_lab.locks import locked
from lmc_lab.results.row_file import read_rows
from lmc_lab.results.wanted import Wanted

NAME = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What a study asks for: all that a report of it needs besides the rows."""

    name: str
    asked: Mapping[str, Any]  # the study as its config has it, which distinguishes it from others of its name
    command: str  # that runs it
    versions: Mapping[str, str]  # that ran it last
    ran: int  # when it ran last, in nanoseconds since 1970
    fingerprint: str  # of its task
    wanted: tuple[Wanted, ...]
    obstacles: Mapping[str, tuple[str, ...]]  # subject -> what kept it from being measured when the study last ran

    def to_plain(self) -> dict[str, Any]:
        """Returns the record as JSON holds it."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content

    @classmethod
    def of_plain(cls, content: Mapping[str, Any]) -> "StudyRecord":
        """Returns what JSON holds."""
        obstacles = {subject: tuple(reasons) for subject, reasons in content["obstacles"].items()}
        wanted = tuple(map(Wanted.of_plain, content["wanted"]))
        return cls(**{**content, "wanted": wanted, "obstacles": obstacles})


def keep_study(folder: Path, record: StudyRecord) -> None:
    """Writes into the manifest of `folder` what a study asks for.

    One of its name that asked for something else keeps its record, unless the same command ran it, which does so no more.
    """
    content = record.to_plain()
    with _rewriting(folder) as manifest:
        manifest["studies"] = [*(other for other in manifest["studies"] if not _is_replaced(other, content)), content]


def studies_in(folder: Path) -> list[StudyRecord]:
    """Returns the studies that asked for results of `folder`; none if its manifest is damaged or missing."""
    content = peek_json(folder / NAME, address=NAME)
    return [StudyRecord.of_plain(item) for item in content.get("studies", [])]


def index(folder: Path, *, anew: Collection[str] = ()) -> None:
    """Makes the manifest list what is in `folder`, for who looks for a result; nothing here relies on the list.

    Args:
        folder: of the results.
        anew: names of files that were written over.
    """
    with _rewriting(folder) as manifest:
        known = {name: entry for name, entry in manifest["results"].items() if name not in anew}
        paths = {path.name: path for path in sorted(folder.glob("*.parquet"))}
        if known.keys() != paths.keys():
            entries = {name: known.get(name) or _entry_or_none(path) for name, path in paths.items()}
            manifest["results"] = {name: entry for name, entry in entries.items() if entry}


@contextmanager
def _rewriting(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the manifest, alone on this machine, and writes it back if it was changed; a damaged one is made anew."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    with locked(path.with_name(".manifest.lock")):
        before = read_json_or_set_aside(path, address=NAME)
        manifest = {"studies": [], "results": {}, **before}
        yield manifest
        if manifest != before:
            write_json(path, manifest, address=NAME)


def _is_replaced(record: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    is_same = record["asked"] == content["asked"] or record["command"] == content["command"]
    return record["name"] == content["name"] and is_same


def _entry_or_none(path: Path) -> dict[str, Any] | None:
    try:
        return read_rows(path)[1].to_plain()
    except (DamagedFile, OtherFormat, FileNotFoundError):
        return None
