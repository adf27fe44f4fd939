"""Running the commands of the README in a shell, as a user does."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import warm
from lmc_lab.files import read_json

BIN = Path(sys.executable).parent


def environment(*folders, **extra):
    """Returns an environment in which `python` and the console scripts are those of the tests, or of `folders`."""
    path = os.pathsep.join([*map(str, folders), str(BIN), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONWARNINGS": "ignore"} | extra


@cache
def warm_python(**imported_from):
    """Returns the folder of a `python` that has imported already, see `warm`; from `PYTHONPATH`, if given."""
    folder = warm.new_folder()
    warm.start_server(folder, environment(folder, **imported_from))
    return folder


def shell(command, *, timeout=280, cwd=None, is_warm=True, **extra):
    """Runs a command and returns what became of it; its `python` has imported already where that changes nothing."""
    imported_from = {name: extra[name] for name in ("PYTHONPATH",) if name in extra}
    return subprocess.run(
        command, shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=timeout, cwd=cwd,
        env=environment(*[warm_python(**imported_from)] if is_warm else [], **extra),
    )  # fmt: skip


def succeed(command, **keywords):
    result = shell(command, **keywords)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@contextmanager
def start(command, **extra):
    """Starts a command in a process group of its own, which ends with the context."""
    process = subprocess.Popen(
        f"exec {command}", shell=True, executable="/bin/bash", start_new_session=True, env=environment(**extra),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Tests that run in the background ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(condition, *, seconds=120):
    """Polls until `condition` returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise TimeoutError("waited in vain")


def running_pids(root):
    """Returns the processes of all runs below `root` that say that they are running."""
    statuses = [read_json(path) for path in root.rglob("status.json")]
    return {status["pid"] for status in statuses if status.get("state") == "running"}


def is_alive(pid):
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):  # it may go in between
        return False


def kill(pid):
    os.kill(pid, signal.SIGKILL)
