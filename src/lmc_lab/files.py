"""How files are written and read: whole or not at all, and recognised when they are damaged."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from lmc_lab.errors import UserError

FORMAT = 3  # of the files below an output folder; another number where older readers would take them for something else
_HOST = os.uname().nodename

log = logging.getLogger(__name__)


class DamagedFile(UserError):  # noqa: N818  it says what the file is
    """A file holds something else than what was written to it, or belongs to another address."""


class MissingFile(UserError):  # noqa: N818  it says what the file is
    """There is no file where one is needed."""


class OtherFormat(UserError):  # noqa: N818  it says what the file is
    """A file was written by a version of this package whose files look different."""


def check_format(found: object, path: Path, *, is_whole: bool = True) -> None:
    """Refuses a file of another format than `FORMAT`; `found` is the number it carries, None for the first format.

    One of a later format may seal its files otherwise: it must not pass for damaged, and be made again by this version.

    Args:
        found: the format in the file.
        path: of the file.
        is_whole: whether the file matches its checksum as this version makes it.

    Raises:
        OtherFormat: it is another.
    """
    is_later = str(found).isdecimal() and int(str(found)) > FORMAT
    if is_later or (is_whole and str(found) != str(FORMAT)):
        raise OtherFormat(
            f"expected files of format {FORMAT}, found format {found or 1} in {path}, which another version of lmc_lab "
            "wrote; use that version, or set output_dir to another folder"
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; what was written there is flushed and renamed to `path` at the end.

    A reader therefore sees the old file, no file, or the whole new one, whenever the writer is killed. Whoever may read
    the file is for the umask to say, not for the library that writes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}@{_HOST}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)
        _flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def written_name(path: str) -> str:
    """Returns the path of the file that a temporary one is to be, and any other as it is."""
    return re.sub(r"/\.([^/]+)\.\d+@[^/]*\.tmp$", r"/\1", path)


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files that killed processes of this machine left in `folder`."""
    for path in folder.glob(f".*@{_HOST}.tmp"):
        if is_left_behind(path):
            path.unlink(missing_ok=True)


def is_left_behind(path: Path) -> bool:
    """Returns whether this is a temporary file of a process of this machine that is no more."""
    pid = path.name.removesuffix(f"@{_HOST}.tmp").rpartition(".")[2]
    return path.name.endswith(f"@{_HOST}.tmp") and pid.isdecimal() and not is_running(int(pid))


def set_aside(path: Path, reason: object) -> Path:
    """Renames a damaged file to ``<name>.corrupt`` (``.corrupt-2``, ...), says so in the log and returns the new name."""
    names = (path.with_name(f"{path.name}.corrupt{'' if number == 1 else f'-{number}'}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    with suppress(FileNotFoundError):  # of two that saw it, the other was faster
        os.replace(path, aside)
        log.warning("%s; it is now %s, and is made again where that is possible", reason, aside.name)
    return aside


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` in one atomic step."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, content: Mapping[str, Any], *, address: str | None = None) -> None:
    """Writes `content` to `path` as indented JSON in one atomic step, with the format, its address and a checksum."""
    stamped = {**content, "format": FORMAT, **({} if address is None else {"place": address})}
    write_text(path, json.dumps({**stamped, "checksum": _checksum(stamped)}, indent=1) + "\n")


def read_json(path: Path, *, address: str | None = None) -> dict[str, Any]:
    """Returns the content that `write_json` wrote, or an empty dict if there is no file; `address` None is not compared.

    Raises:
        DamagedFile: it is not what was written, or was written for another address.
        OtherFormat: another version wrote it.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DamagedFile(f"expected JSON in {path}, found a damaged file") from error
    if not isinstance(content, dict):
        raise DamagedFile(f"expected a JSON object in {path}, found a damaged file")
    is_first_format = not {"checksum", "format"} & content.keys()
    is_whole = content.pop("checksum", None) == _checksum(content)
    check_format(content.pop("format", None), path, is_whole=is_whole or is_first_format)
    if not is_whole:
        raise DamagedFile(f"expected {path} to match its own checksum, found other content")
    written_for = content.pop("place", None)
    if address is not None and written_for != address:
        raise DamagedFile(f"expected {path} to be {address}, found that it is {written_for}")
    return content


def read_json_or_set_aside(path: Path, *, address: str | None = None) -> dict[str, Any]:
    """Returns the content of a JSON file; a damaged one is set aside, and counts as none."""
    try:
        return read_json(path, address=address)
    except DamagedFile as error:
        set_aside(path, error)
        return {}


def peek_json(path: Path, *, address: str | None = None) -> dict[str, Any]:
    """Returns the content of a JSON file, or an empty dict if there is none, or a damaged one: for those who only watch."""
    try:
        return read_json(path, address=address)
    except UserError:
        return {}


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def is_running(pid: int) -> bool:
    """Returns whether a process of this machine is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
