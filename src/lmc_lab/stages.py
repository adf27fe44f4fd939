"""Commands that start commands: a `@hydra.main` cannot be nested, so each stage is a process of its own."""

import errno
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from lmc_lab import cli
from lmc_lab.configs import config_dir_flags
from lmc_lab.errors import UserError

_SECONDS_TO_END = 20
_CLEARED = "\033[K"  # the rest of a terminal's line
_ROOM = 2**20  # bytes, below which a disk counts as full


def command(entry_point: str, *overrides: str, multirun: bool = False) -> list[str]:
    """Returns the command line of an entry point of this package."""
    flags = [*config_dir_flags(), *(["-m"] if multirun else [])]
    return [sys.executable, "-m", f"lmc_lab.{entry_point}", *overrides, *flags]


def shown(arguments: list[str]) -> str:
    """Returns the command line as a user would type it."""
    return shlex.join(["python", *arguments[1:]])


def start(arguments: list[str], *, log: Path | None = None) -> "subprocess.Popen[bytes]":
    """Prints a command and starts it; what it prints goes into `log`, if given. It ends when this process does."""
    print(f"$ {shown(arguments)}", flush=True)
    if log is None:
        return subprocess.Popen(arguments, env=cli.child_environment())
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(arguments, env=cli.child_environment(), stdout=file, stderr=subprocess.STDOUT)


def finish(process: "subprocess.Popen[bytes]", *, log: Path | None = None) -> None:
    """Waits for a started command.

    Raises:
        UserError: it failed; repeats its last line, which says why.
        OSError: it failed and had no room to say why.
    """
    code = process.wait() if log is None or not sys.stdout.isatty() else _watch(process, log)
    if code == 0:
        return
    lines = log.read_text(errors="replace").splitlines() if log else []
    if not lines:
        if log is not None and shutil.disk_usage(log.parent).free < _ROOM:
            raise OSError(errno.ENOSPC, "no room for what it prints", str(log))
        raise UserError(f"expected the command above to succeed, found that it ended with {code}; it printed why")
    raise UserError(f"{lines[-1].removeprefix('lmc_lab: ')} (all of it: {log})")


def _watch(process: "subprocess.Popen[bytes]", log: Path) -> int:
    """Waits for a command, and shows in a line of the terminal how far it says that it is."""
    shown_last = ""
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            progress = re.findall(r"^\d+/\d+ .*", log.read_text(errors="replace"), flags=re.MULTILINE)
            if progress and progress[-1] != shown_last:
                shown_last = progress[-1]
                print(f"\r{_CLEARED}{shown_last[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
        finally:
            if shown_last and process.returncode is not None:
                print(f"\r{_CLEARED}", end="", flush=True)


def run(arguments: list[str], *, log: Path | None = None) -> None:
    """Starts a command and waits for it."""
    process = start(arguments, log=log)
    try:
        finish(process, log=log)
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit):
            process.terminate()  # it saves a state first; a terminal sends Ctrl-C to both
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_SECONDS_TO_END)
        raise
    finally:
        process.kill()  # without effect on one that has ended; Ctrl-C must not leave it behind
