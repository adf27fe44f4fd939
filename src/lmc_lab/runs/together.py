"""Branches, or trunks, trained together: which of them, and from where."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from filelock import Timeout

from lmc_lab.errors import UserError
from lmc_lab.files import remove_leftovers
from lmc_lab.locks import locked
from lmc_lab.runs.branch import begin_state, complete, steps_to_save, where_to_begin
from lmc_lab.runs.checkpoint import CALLBACK_GROUP, TRAJECTORY, State
from lmc_lab.runs.curve import CURVE_COLUMNS, read_rows
from lmc_lab.runs.curve_check import set_aside_unless_whole
from lmc_lab.runs.curve_file import CurveFile
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.fit import check_finite, write_config
from lmc_lab.runs.member import Member
from lmc_lab.runs.paths import address_of
from lmc_lab.runs.program import Program
from lmc_lab.runs.program_state import claim, remove_needless
from lmc_lab.runs.run import Company, Run
from lmc_lab.runs.status import ENDED, Diverged, Stopped, check_divergence, peek_status, write_diverged, write_status
from lmc_lab.runs.trunk import ensure_trunk, note_trained, publish_split, trunk_stretches
from lmc_lab.stacked.copies import Randomness


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
    _train(_branch, runs, randomness)


def train_trunks_together(
    experiments: Sequence[Experiment],
    steps: Collection[int],
    *,
    splits: Collection[int] = (),
    randomness: Randomness = "error",
) -> None:
    """Trains trunks of one task as one program until the state at each of `steps` is there; publishes those that are `splits`.

    Those that lack nothing are left alone, and so are those that others hold, cannot begin, or lack more than one stretch:
    `ensure_trunk` does what is left.

    Raises:
        Stopped: training ended early.
    """
    make = partial(_trunk, steps={0, *steps}, splits=splits)
    for experiment in experiments:
        ensure_trunk(experiment, {0})
    _train(make, list(map(Run, experiments)), randomness)


def _train(make: Callable[[Run], Member | None], runs: Sequence[Run], randomness: Randomness) -> None:
    """Trains the runs of which `make` makes members, each under its lock."""
    with ExitStack() as locks:
        members = [member for run in runs if (member := _locked(make, run, locks))]
        if not members:
            return
        paths = members[0].run.experiment.paths
        remove_leftovers(paths.root)
        resume = paths.program([address_of(member.run.folder.resume) for member in members])
        with _outcomes_recorded(members):
            Program(members, resume, randomness=randomness, on_diverged=_note_divergence).train()


def _locked(make: Callable[[Run], Member | None], run: Run, locks: ExitStack) -> Member | None:
    """Returns the run as a member, with its lock held, or None if nothing is to be, or can be, done here."""
    run.folder.path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(run.folder.lock, timeout=0))
            member = make(run)
        except (Timeout, UserError):
            return None
        if member is not None:
            locks.enter_context(held.pop_all())
            write_config(run)
    return member


def _branch(run: Run) -> Member | None:
    check_divergence(run.folder, str(run.name), stop=run.last_step, circumstances=run.experiment.circumstances)
    stretch = where_to_begin(run)
    if stretch is None:
        return None
    begin = begin_state(run, stretch)
    return _member(run, begin, run.last_step, steps_to_save(run), lambda step: None, partial(_complete, run))


def _trunk(run: Run, *, steps: Collection[int], splits: Collection[int]) -> Member | None:
    check_divergence(run.folder, str(run.name), stop=max(steps), circumstances=run.experiment.circumstances)
    claim(run)
    missing = trunk_stretches(run, steps) if set_aside_unless_whole(run.folder) else []
    if len(missing) != 1 or missing[0].checkpoint is None:
        return None
    (stretch,) = missing
    begin = begin_state(run, stretch)

    def complete_trunk(state: State, company: Company) -> None:
        _check_finite(run, state, stretch.stop)
        run.folder.resume.unlink(missing_ok=True)
        note_trained(run, stretch.stop, company=company)
        _show(run)

    publish = partial(publish_split, run.experiment, splits)
    return _member(run, begin, stretch.stop, steps, publish, complete_trunk)


def _member(
    run: Run,
    begin: State,
    stop: int,
    save_at: Collection[int],
    on_saved: Callable[[int], None],
    complete: Callable[[State, Company], None],
) -> Member:
    curve = CurveFile(run.folder.metrics, start=int(begin["global_step"]), stop=stop)
    return Member(run=run, begin=begin, stop=stop, save_at=save_at, on_saved=on_saved, curve=curve, complete=complete)


def _complete(run: Run, state: State, company: Company) -> None:
    """Writes the branch's endpoint from its state at the last step, marks it finished, and sends its loss curve to the logger.

    Raises:
        Diverged: it is not finite.
    """
    trajectory = _check_finite(run, state, run.last_step)
    complete(run, state["state_dict"], trajectory["path_length"], company=company)
    _show(run)


def _check_finite(run: Run, state: State, step: int) -> Mapping[str, Any]:
    """Returns the state of the run's trajectory.

    Raises:
        Diverged: its weights are not finite.
    """
    trajectory: Mapping[str, Any] = state["callbacks"][CALLBACK_GROUP][TRAJECTORY]
    check_finite(state["state_dict"].values(), str(run.name), step, trajectory["last_loss"])
    return trajectory


def _show(run: Run) -> None:
    """Gives the logger the loss curve of a run: one at a time, since a program may have hundreds."""
    logger = run.experiment.make_logger(run.name, run.config)
    if logger is not None:
        for row in read_rows(run.folder.metrics):
            logger.log_metrics({name: float(row[name]) for name in CURVE_COLUMNS}, int(row["step"]))
        logger.finalize("success")


def _note_divergence(member: Member, error: Diverged) -> None:
    write_diverged(member.run.folder, error, member.run.experiment.circumstances)
    remove_needless(member.run)


@contextmanager
def _outcomes_recorded(members: Sequence[Member]) -> Iterator[None]:
    """Says in the status of each branch that did not come to its end how training ended."""
    try:
        yield
    except BaseException as error:
        ended = "stopped" if isinstance(error, Stopped | SystemExit) else "failed"
        for member in members:
            folder = member.run.folder
            if peek_status(folder).get("state") not in ENDED:
                write_status(folder, status=ended)
        raise
