"""The shared run from W_0: trained once, to exactly where somebody needs it, by whoever comes first."""

from collections.abc import Callable, Collection

from filelock import FileLock

from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve_check import set_aside_unless_whole
from lmc_lab.runs.experiment import Experiment, RunName
from lmc_lab.runs.fit import Stretch, fit
from lmc_lab.runs.layout import RunFolder
from lmc_lab.runs.saving import SplitCheckpoint
from lmc_lab.runs.split import Split
from lmc_lab.runs.status import check_divergence, outcome_recorded, read_status, write_finished


def ensure_split(experiment: Experiment, step: int) -> Split:
    """Returns the split at `step`, after training the trunk to exactly there if nobody has, or waiting for who does.

    The trunk's first state is made sure of, too: a mode is measured from it.
    """
    folder = experiment.trunk_folder
    split = experiment.split(step)
    if split.is_published(experiment.split_folder(step)) and all(
        checkpoint.is_whole(folder.step(k)) for k in (0, step)
    ):
        return split  # without the lock, which a trunk on its way to T may hold for hours
    ensure_trunk(experiment, {0, step}, splits={step})
    return split


def ensure_trunk(experiment: Experiment, steps: Collection[int], *, splits: Collection[int] = ()) -> None:
    """Trains the trunk until its state at each of `steps` is on disk; publishes those that are `splits`.

    A step is reached from the nearest earlier state. The trunk's lock is held meanwhile. Damaged states are set aside and
    made again; so is a damaged loss curve, from the first step on.

    Raises:
        Diverged: the trunk does before one of `steps`.
    """
    folder = experiment.trunk_folder

    def publish(step: int) -> None:
        if step in splits:
            experiment.split(step).publish(experiment.split_folder(step))

    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.lock), outcome_recorded(folder, experiment.circumstances):
        check_divergence(folder, str(_name(experiment)), stop=max(steps), circumstances=experiment.circumstances)
        if not set_aside_unless_whole(folder):
            again = max(folder.saved_steps(), default=0)
            _train(experiment, Stretch(0, again, None), SplitCheckpoint(folder, {0, *steps}, publish))
        missing = missing_stretches(lambda: _states(folder, set(steps)), folder, steps)
        # The one from the state of a killed run first: another may leave a state of its own in that place.
        for stretch in sorted(missing, key=lambda stretch: stretch.checkpoint != folder.resume):
            _train(experiment, stretch, SplitCheckpoint(folder, {0, *steps}, publish))
        for step in splits:
            publish(step)


def missing_stretches(
    states: Callable[[], Collection[Stretch]], folder: RunFolder, steps: Collection[int]
) -> list[Stretch]:
    """Returns what is to be trained so that the state at every one of `steps` is in `folder`; damaged ones are set aside.

    Args:
        states: gives the states on disk, as stretches of length zero.
        folder: of the run.
        steps: whose states are wanted.
    """
    for step in sorted(folder.saved_steps() & set(steps)):
        checkpoint.load_or_set_aside(folder.step(step))
    while True:
        missing = stretches(states(), steps)
        origins = {stretch.checkpoint for stretch in missing if stretch.checkpoint is not None}
        own = {origin for origin in origins if origin.parent == folder.path}
        for origin in origins - own:
            checkpoint.load(origin)  # another run's, whose lock is not held here
        if all([checkpoint.load_or_set_aside(origin) for origin in own]):
            return missing


def stretches(states: Collection[Stretch], steps: Collection[int]) -> list[Stretch]:
    """Returns what is to be trained so that every one of `steps` is reached, each from the latest state before it.

    Args:
        states: the states on disk, as stretches of length zero.
        steps: the steps whose states are wanted.
    """
    origins = [*states, Stretch(0, 0, None)]  # max() takes the first of equals: the saved W_0, if there is one
    saved = {state.start for state in states}
    stops: dict[Stretch, int] = {}
    for step in sorted(set(steps) - saved):
        origin = max((state for state in origins if state.start <= step), key=lambda state: state.start)
        stops[origin] = step
    return [Stretch(origin.start, stop, origin.checkpoint) for origin, stop in stops.items()]


def saved_states(folder: RunFolder) -> list[Stretch]:
    """Returns the states kept on disk, as stretches of length zero."""
    return [Stretch(step, step, folder.step(step)) for step in folder.saved_steps()]


def resume_step(folder: RunFolder) -> int | None:
    """Returns the step at which a killed run goes on, or None."""
    stored = checkpoint.load_or_set_aside(folder.resume)
    return None if stored is None else stored.state["global_step"]


def _states(folder: RunFolder, steps: Collection[int]) -> list[Stretch]:
    """Returns the states on disk.

    A state to resume from is left out if it stands at one of `steps`: the state there is to be kept under its own name, and
    only training up to it saves it.
    """
    states = saved_states(folder)
    step = resume_step(folder)
    if step is not None and step not in steps:
        states.append(Stretch(step, step, folder.resume))
    return states


def _train(experiment: Experiment, stretch: Stretch, split_checkpoint: SplitCheckpoint) -> None:
    folder = experiment.trunk_folder
    # Lightning takes max_steps=0 as nothing to do and would not even start, so W_0 is saved by a run of one step.
    steps = Stretch(stretch.start, max(stretch.stop, 1), stretch.checkpoint)
    is_behind = stretch.stop <= (resume_step(folder) or -1)  # of a killed run, whose progress is kept
    fit(
        experiment,
        folder,
        _name(experiment),
        experiment.trunk_order(),
        steps,
        callbacks=[split_checkpoint],
        is_resumable=not is_behind,
    )
    if not is_behind:
        folder.resume.unlink(missing_ok=True)
    trained_to = max(stretch.stop, read_status(folder).get("trained_to", 0))
    write_finished(folder, step=stretch.stop, trained_to=trained_to)


def _name(experiment: Experiment) -> RunName:
    return RunName(experiment.task.name, experiment.trunk_seed)
