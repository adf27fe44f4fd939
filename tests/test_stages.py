"""Commands that a study starts, and what a terminal shows of them."""

import os
import subprocess
import sys

SCRIPT = """
import sys
from pathlib import Path
from lmc_lab import stages
code = "import time; print('1/2 seed=0: done', flush=True); print('more', flush=True); time.sleep(2.5)"
stages.run([sys.executable, "-c", code], log=Path(sys.argv[1]))
"""


def test_a_terminal_shows_how_far_a_stage_is_and_a_file_has_the_command_alone(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "stage.log")]
    (line,) = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert line.startswith("$ python -c ")
    ours, theirs = os.openpty()
    process = subprocess.Popen(command, stdout=theirs)
    os.close(theirs)
    shown = b""
    while part := _read(ours):
        shown += part
    os.close(ours)
    assert process.wait() == 0
    assert shown.count(b"1/2 seed=0: done") == 2 and shown.endswith(
        b"\r\033[K"
    )  # in the command, and once as it happens
    assert (tmp_path / "stage.log").read_text() == "1/2 seed=0: done\nmore\n"


def _read(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's end of a terminal
        return b""
