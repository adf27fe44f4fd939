"""A study in one file: its record, its results and their rows, to be kept, sent and drawn without the tree it came from."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from lmc_lab.files import DamagedFile
from lmc_lab.results.commands import words_of
from lmc_lab.results.folder import Result
from lmc_lab.results.manifest import StudyRecord
from lmc_lab.results.row_file import SCHEMA, Entry, empty_frame, read_sealed, write_sealed
from lmc_lab.results.study_results import StudyResults, collect_from

FOLDER_KEYS = ("data_dir", "cache_dir", "output_dir")  # keys of a config that name a place on this machine
_RESULT = "result"  # the column that says which result a row is of


def write_bundle(record: StudyRecord, collected: StudyResults, path: Path) -> None:
    """Writes a study with all its results, whole rows and their entries, but for the tensors beside them.

    The configs of the analyses are left out, but for the newest, which has the task; so is where things lay.
    """
    frames = [result.rows.assign(**{_RESULT: number}) for number, result in enumerate(collected.found)]
    rows = pd.concat(frames, ignore_index=True) if frames else empty_frame().assign(**{_RESULT: pd.Series(dtype=int)})
    entries = [
        replace(result.entry, config={}, records=None, command=_portable(result.entry.command)).to_plain()
        for result in collected.found
    ]
    config = {key: value for key, value in collected.config.items() if key not in FOLDER_KEYS}
    study = replace(record, command=_portable(record.command)).to_plain()
    content = {"study": study, "entries": entries, "config": config}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(rows.astype({_RESULT: "int64"}), content, path)


def read_bundle(path: Path) -> tuple[StudyRecord, StudyResults]:
    """Returns what `write_bundle` wrote.

    Raises:
        DamagedFile: it is something else.
        OtherFormat: another version wrote it.
        FileNotFoundError: there is none.
    """
    rows, content = read_sealed(path)
    if "study" not in content:
        raise DamagedFile(f"expected {path} to hold a study, found the rows of one result")
    record = StudyRecord.of_plain(content["study"])
    results = [
        Result(rows[rows[_RESULT] == number][list(SCHEMA)].reset_index(drop=True), _entry(plain, content["config"]))
        for number, plain in enumerate(content["entries"])
    ]
    return record, collect_from(record, results)


def _portable(command: str) -> str:
    """Returns a command as one types it, without the paths of the machine that ran it."""
    program, *words = words_of(command) or [""]
    arguments = [word for word in words if word.partition("=")[0] not in FOLDER_KEYS]
    typed = ["python", "-m", f"lmc_lab.{Path(program).stem.removeprefix('lmc-')}"]
    return shlex.join([*(typed if Path(program).is_absolute() else [program]), *arguments])


def _entry(content: dict[str, Any], config: dict[str, Any]) -> Entry:
    return replace(Entry.of_plain(content), config=config)
