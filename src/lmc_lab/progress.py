"""How far the branches of a study are, read off their status files."""

import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from tqdm import tqdm

from lmc_lab.files import is_running
from lmc_lab.runs.paths import RunFolder
from lmc_lab.runs.status import ENDED, peek_status


class BranchProgress:
    """A line with what became of the branches, and the time left; silent when stderr is no terminal."""

    def __init__(self, folders: Sequence[RunFolder], *, seconds: float = 1.0) -> None:
        self._folders = folders
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "BranchProgress":
        self._bar = tqdm(
            total=len(self._folders), disable=None, bar_format="{l_bar}{bar}| {elapsed}, {remaining} left{postfix}"
        )
        self._bar.n = self._bar.initial = sum(share(folder) for folder in self._folders)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self._bar.close()

    def _watch(self) -> None:
        while not self._bar.disable:
            self._bar.n = sum(share(folder) for folder in self._folders)
            self._bar.set_postfix_str(summary(count_states(self._folders)))
            if self._stopped.wait(self._seconds):
                break


def summary(states: Counter[str]) -> str:
    """Returns what the line says of the branches; of those that diverged or are left out only if there are any."""
    rare = "".join(f", {states[state]} {state}" for state in ("diverged", "left out") if states[state])
    running = f"{states['running']} running, {states['failed']} failed"
    return f"{states['finished']} of {states.total()} branches done, {running}{rare}"


def count_states(folders: Sequence[RunFolder]) -> Counter[str]:
    """Returns how many runs are finished, diverged, left out, running, failed (with an error, or killed) or waiting."""
    return Counter(_state(peek_status(folder)) for folder in folders)


def share(folder: RunFolder) -> float:
    """Returns how much of a run is done, between 0 and 1."""
    status = peek_status(folder)
    if status.get("state") in ENDED:
        return 1.0
    start, step, stop = (status.get(name, 0) for name in ("start", "step", "stop"))
    return (step - start) / (stop - start) if stop > start else 0.0


def _state(status: dict[str, object]) -> str:
    state = str(status.get("state", "waiting"))
    return "failed" if state == "running" and not _is_alive(status) else state


def _is_alive(status: dict[str, object]) -> bool:
    """Returns whether the process that wrote this lives; one on another machine counts as alive while it still writes."""
    if status.get("host") != os.uname().nodename:
        return time.time() - float(str(status.get("time", 0))) < 600
    return is_running(int(str(status["pid"])))
