"""The state of a program that was ended: any of its runs can be taken up again out of it, alone or beside others."""

from functools import lru_cache
from pathlib import Path

from lmc_lab.files import DamagedFile, MissingFile, OtherFormat
from lmc_lab.runs import checkpoint
from lmc_lab.runs.checkpoint import State
from lmc_lab.runs.paths import address_of
from lmc_lab.runs.run import Run
from lmc_lab.runs.stacked_state import taken
from lmc_lab.runs.status import ENDED, peek_status
from lmc_lab.runs.stretch import resume_step


def claim(run: Run) -> None:
    """Copies a run's state out of the file of an interrupted program where that is later than the run's own.

    The caller holds the run's lock.
    """
    address = address_of(run.folder.resume)
    for path in run.experiment.paths.programs():
        members = _members(path)
        if address not in members:
            continue
        try:
            state = _loaded(path, path.stat().st_mtime_ns)
        except (DamagedFile, FileNotFoundError, MissingFile):
            continue  # the branch goes on from an earlier state
        step = state["global_step"]
        if (resume_step(run.folder) or -1) < step < run.last_step:
            alone = {name: value for name, value in state.items() if name != "members"}
            checkpoint.save(taken(alone, members.index(address)), run.folder.resume)


def remove_needless(run: Run) -> None:
    """Removes states of programs all of whose runs are finished."""
    paths = run.experiment.paths
    for path in paths.programs():
        members = _members(path)
        if members and all(peek_status(paths.run_at(address)).get("state") in ENDED for address in members):
            path.unlink(missing_ok=True)


def _members(path: Path) -> list[str]:
    """Returns the addresses of the runs in a program's state, none if it is damaged."""
    try:
        return list(checkpoint.peek(path, "members") or ())
    except (DamagedFile, MissingFile, OtherFormat):
        return []


@lru_cache(maxsize=1)
def _loaded(path: Path, written: int) -> State:
    """Returns the state in a file that was written at this time: its runs are claimed one after another."""
    return checkpoint.load(path).state
