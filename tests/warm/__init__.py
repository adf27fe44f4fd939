"""A `python` for the commands of tests that has imported already, by a server for each process that runs tests."""

import atexit
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent


def new_folder():
    """Returns a new folder with a `python` that asks the server of this folder, and else is the real one."""
    folder = Path(tempfile.mkdtemp(prefix="lmc-python-"))
    words = [sys.executable, "-IS", _HERE / "stand_in.py", sys.executable, folder / "socket"]
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    python.chmod(0o755)
    return folder


def start_server(folder, environment):
    """Starts the server of a folder, which removes it when this process is gone; returns when it has imported all."""
    server = subprocess.Popen(
        [sys.executable, _HERE / "server.py", folder], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(server.communicate)
    if not server.stdout.readline():
        raise RuntimeError("the server of commands did not start")
