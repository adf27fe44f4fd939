"""Where data lie: paths that must be there, and what files are known by."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmc_lab.errors import UserError


def existing(path: Path) -> Path:
    """Returns a path of a file or a folder that is there.

    Raises:
        UserError: it is not.
    """
    if not path.exists():
        raise UserError(
            f"expected data at {path.resolve()}, found none; set data_dir or LMC_DATA_DIR to where they are, or task.data.path"
        )
    return path


def existing_folder(path: Path) -> Path:
    """Returns a path of a folder that is there.

    Raises:
        UserError: it is not, or a file.
    """
    if not existing(path).is_dir():
        raise UserError(
            f"expected a folder at {path.resolve()}, found a file; set task.data.path to the folder that it is in, or unpack it"
        )
    return path


def existing_file(path: Path) -> Path:
    """Returns a path of a file that is there.

    Raises:
        UserError: it is not, or a folder.
    """
    if existing(path).is_dir():
        raise UserError(f"expected a file at {path.resolve()}, found a folder; set task.data.path to a file in it")
    return path


def identity_of(files: Sequence[Path], *settings: Any) -> str:
    """Returns a short name for what is decoded from files with these settings.

    Content is not read for it: a file counts by its path, size and time of change, as for `make`. What is decoded has a digest
    of its content, which goes into every checkpoint, so that a file that was only copied is the same data.
    """
    stats = [(path.stat(), str(path)) for path in files]
    records = [(path, stat.st_size, stat.st_mtime_ns) for stat, path in stats]
    return hashlib.sha256(repr((records, settings)).encode()).hexdigest()[:16]
