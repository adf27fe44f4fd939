"""Whether the loss curve of a run is whole: its states and its status say how many rows there must be."""

from lmc_lab.files import DamagedFile, set_aside
from lmc_lab.runs.curve import Row, read_rows
from lmc_lab.runs.paths import RunFolder
from lmc_lab.runs.status import peek_status, read_status


def whole_curve(folder: RunFolder) -> list[Row]:
    """Returns the rows of a run's loss curve.

    Raises:
        DamagedFile: there are fewer than the run wrote, or one is damaged.
    """
    status = peek_status(folder)
    return _rows(folder, status["rows"] if status.get("state") == "finished" else 0)


def set_aside_unless_whole(folder: RunFolder) -> bool:
    """Returns whether the loss curve is whole; sets aside one that is not. The caller holds the run's lock.

    The state to resume from goes with it, since the curve can only be made again from the run's first step on.
    """
    try:
        _rows(folder, _num_expected(folder))
    except DamagedFile as error:
        set_aside(folder.metrics, error)
        folder.resume.unlink(missing_ok=True)
        return False
    return True


def _rows(folder: RunFolder, num_expected: int) -> list[Row]:
    rows = read_rows(folder.metrics)
    if len(rows) < num_expected:
        raise DamagedFile(
            f"expected {num_expected} rows of a loss curve in {folder.metrics}, found {len(rows)}; give the command that "
            "trained it once more, which makes it again"
        )
    return rows


def _num_expected(folder: RunFolder) -> int:
    """Returns how many rows there are at least: as a state to resume from says, or a finished run, or its last state."""
    from lmc_lab.runs import checkpoint  # here, since whole curves are seen without torch

    states = [folder.resume, *([folder.step(max(folder.saved_steps()))] if folder.saved_steps() else [])]
    status = read_status(folder)
    if not folder.resume.exists() and status.get("state") == "finished":
        return int(status["rows"])
    stored = next(filter(None, map(checkpoint.load_or_set_aside, states)), None)
    return 0 if stored is None else checkpoint.num_rows(stored.state)
