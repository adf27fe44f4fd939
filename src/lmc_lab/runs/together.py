"""Branches trained together: which of them, and from where."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from filelock import FileLock, Timeout

from lmc_lab.errors import UserError
from lmc_lab.runs.branch import begin_state, complete, steps_to_save, where_to_begin
from lmc_lab.runs.checkpoint import State
from lmc_lab.runs.curve import CURVE_COLUMNS, read_rows
from lmc_lab.runs.curve_file import CurveFile
from lmc_lab.runs.fit import check_finite, write_config
from lmc_lab.runs.member import Member
from lmc_lab.runs.paths import place_of
from lmc_lab.runs.program import Program, Randomness
from lmc_lab.runs.run import Run
from lmc_lab.runs.stacked_state import STATE_KEY
from lmc_lab.runs.status import Diverged, Stopped, peek_status, write_diverged, write_status
from lmc_lab.runs.trajectory import Trajectory


def train_together(runs: Sequence[Run], *, randomness: Randomness = "error") -> None:
    """Trains branches of one task and one way of making them as one program, each to its end.

    Those that are finished are left alone, and so are those which another process holds, or which cannot begin: whoever trains
    a branch by itself afterwards sees why. W_k of each is there.

    Args:
        runs: branches whose task is the same object.
        randomness: of layers that draw numbers.

    Raises:
        Stopped: training ended early.
    """
    with ExitStack() as locks:
        members = [member for run in runs if (member := _member(run, locks, together=len(runs)))]
        if not members:
            return
        paths = members[0].run.experiment.paths
        resume = paths.program([place_of(member.run.folder.resume) for member in members])
        with _outcomes_recorded(members):
            Program(members, resume, randomness=randomness, on_diverged=_note_divergence).train()


def _member(run: Run, locks: ExitStack, *, together: int) -> Member | None:
    """Returns the branch as a member, with its lock held, or None if nothing is to be, or can be, done here."""
    folder = run.folder
    folder.path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as own:
        try:
            own.enter_context(FileLock(folder.lock, timeout=0))
            stretch = where_to_begin(run)
            if stretch is None:
                return None
            begin = begin_state(run, stretch)
        except (Timeout, UserError):
            return None
        locks.enter_context(own.pop_all())
    write_config(run)
    return Member(
        run=run,
        begin=begin,
        stop=run.last_step,
        save_at=steps_to_save(run),
        on_saved=lambda step: None,
        curve=CurveFile(folder.metrics, start=int(begin["global_step"]), stop=run.last_step),
        complete=partial(_complete, run, together),
    )


def _complete(run: Run, together: int, state: State) -> None:
    """Writes the endpoint that a state at the last step is, and shows the loss curve to the logger.

    Raises:
        Diverged: it is not finite.
    """
    trajectory = state["callbacks"][STATE_KEY][Trajectory.__name__]
    check_finite(state["state_dict"].values(), str(run.name), run.last_step, trajectory["last_loss"])
    complete(run, state["state_dict"], trajectory["path_length"], together=together)
    _show(run)


def _show(run: Run) -> None:
    """Gives the logger a finished run: one at a time, since a program may have hundreds."""
    logger = run.experiment.make_logger(run.name, run.config)
    if logger is not None:
        for row in read_rows(run.folder.metrics):
            step, *values = map(float, row.values())
            logger.log_metrics(dict(zip(CURVE_COLUMNS, [step, *values], strict=True)), int(step))
        logger.finalize("success")


def _note_divergence(member: Member, error: Diverged) -> None:
    write_diverged(member.run.folder, error, member.run.experiment.circumstances)


@contextmanager
def _outcomes_recorded(members: Sequence[Member]) -> Iterator[None]:
    """Says in the status of each branch that did not come to its end how training ended."""
    try:
        yield
    except BaseException as error:
        ended = "stopped" if isinstance(error, Stopped | SystemExit) else "failed"
        for member in members:
            folder = member.run.folder
            if not folder.endpoint.exists() and peek_status(folder).get("state") != "diverged":
                write_status(folder, state=ended)
        raise
