"""How far a run is, and how it ended: its status.json."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lmc_lab.errors import UserError
from lmc_lab.files import peek_json, read_json_or_set_aside, remove_leftovers, write_json
from lmc_lab.runs.curve import read_rows
from lmc_lab.runs.paths import RunFolder, SplitFolder, address_of

ENDED = ("finished", "diverged", "left out")  # states of runs with which nothing more is to be done


class Diverged(UserError):  # noqa: N818  it says what the run is
    """A loss or a weight of the run became NaN or infinite."""

    def __init__(self, name: str, step: int, last_finite_loss: float | None, advice: str = "") -> None:
        seen = "none before" if last_finite_loss is None else f"the last finite loss was {last_finite_loss:.4g}"
        super().__init__(
            f"expected finite losses and weights in {name}, found NaN or infinity at step {step} ({seen}); "
            f"lower the learning rate, set task.gradient_clip_val, or look at the data{advice}"
        )
        self.step = step
        self.last_finite_loss = last_finite_loss


class NoBranches(UserError):  # noqa: N818  it says what the split is
    """A split has no branches of a variation, since no examples were chosen for them."""

    def __init__(self, folder: SplitFolder) -> None:
        super().__init__(
            f"expected examples for the branches of {folder.path}, found that branch.examples chooses none there; choose "
            "others, or do without these branches"
        )


class Stopped(UserError):  # noqa: N818  it says what the run is
    """Training ended before the step that it was to reach."""


def read_status(folder: RunFolder) -> dict[str, Any]:
    """Returns what status.json says, {} if there is none; a damaged one, or that of another run, is set aside."""
    return read_json_or_set_aside(folder.status, address=address_of(folder.status))


def peek_status(folder: RunFolder) -> dict[str, Any]:
    """Returns what status.json says, {} if there is none or a damaged one: for those who only watch."""
    return peek_json(folder.status, address=address_of(folder.status))


def write_status(folder: RunFolder, *, status: str, **content: Any) -> None:
    """Writes status.json; what it said before and is not mentioned stays."""
    owner = {"pid": os.getpid(), "host": os.uname().nodename, "time": round(time.time(), 1)}
    whole = read_status(folder) | {"state": status} | owner | content
    write_json(folder.status, whole, address=address_of(folder.status))


def write_finished(folder: RunFolder, **content: Any) -> None:
    """Writes that the run came to its end, and how many rows its loss curve has there."""
    write_status(folder, status="finished", rows=len(read_rows(folder.metrics)), **content)


def is_marked_finished(folder: RunFolder) -> bool:
    """Returns whether status.json says that the run came to its end."""
    return read_status(folder).get("state") == "finished"


def check_divergence(
    folder: RunFolder, name: str, *, stop: int, circumstances: Callable[[], Mapping[str, str]]
) -> None:
    """Refuses a run that is to reach step `stop` and is known to diverge before, if it would do so again.

    Args:
        folder: of the run.
        name: of the run, for the message.
        stop: where it is to go.
        circumstances: gives what it depends on besides its address; `outcome_recorded` wrote it down.

    Raises:
        Diverged: it is.
    """
    status = read_status(folder)
    if status.get("state") == "diverged" and status["step"] <= stop and status["circumstances"] == circumstances():
        raise Diverged(name, status["step"], status["last_finite_loss"], f"; remove {folder.status} to try it again")


def write_diverged(folder: RunFolder, error: Diverged, circumstances: Callable[[], Mapping[str, str]]) -> None:
    """Writes that the run ceased to be numbers, and what that depends on besides its address."""
    write_status(
        folder,
        status="diverged",
        step=error.step,
        last_finite_loss=error.last_finite_loss,
        circumstances=dict(circumstances()),
    )


@contextmanager
def outcome_recorded(folder: RunFolder, circumstances: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Says in status.json how the run ended if what is inside does not come to its end; cleans the folder up first."""
    remove_leftovers(folder.path)
    try:
        yield
    except Diverged as error:
        write_diverged(folder, error, circumstances)
        raise
    except NoBranches:
        write_status(folder, status="left out")
        raise
    except (Stopped, SystemExit):
        write_status(folder, status="stopped")
        raise
    except BaseException:
        write_status(folder, status="failed")
        raise
