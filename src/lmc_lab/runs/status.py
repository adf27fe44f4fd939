"""How far a run is, status.json, for those who watch and for those who come later."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lmc_lab.files import read_json, write_json
from lmc_lab.runs.layout import RunFolder


def write_status(folder: RunFolder, *, state: str, **content: Any) -> None:
    """Writes status.json; what it said before and is not mentioned stays."""
    owner = {"pid": os.getpid(), "host": os.uname().nodename, "time": round(time.time(), 1)}
    write_json(folder.status, read_json(folder.status) | {"state": state} | owner | content)


def is_finished(folder: RunFolder) -> bool:
    """Returns whether the branch has an endpoint; status.json says so last."""
    return read_json(folder.status).get("state") == "finished" and folder.endpoint.exists()


@contextmanager
def failure_recorded(folder: RunFolder) -> Iterator[None]:
    """Writes that the run failed if what is inside does not come to its end."""
    try:
        yield
    except BaseException:
        write_status(folder, state="failed")
        raise
