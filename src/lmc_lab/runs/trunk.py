"""The shared run from W_0: trained once, to exactly where somebody needs it, by whoever comes first."""

from collections.abc import Collection

from filelock import FileLock

from lmc_lab.files import read_json
from lmc_lab.runs import checkpoint
from lmc_lab.runs.callbacks import SplitCheckpoint
from lmc_lab.runs.experiment import Experiment, RunName
from lmc_lab.runs.fit import Stretch, fit
from lmc_lab.runs.layout import RunFolder
from lmc_lab.runs.split import Split
from lmc_lab.runs.status import failure_recorded, write_status


def ensure_split(experiment: Experiment, step: int) -> Split:
    """Returns the split at `step`, after training the trunk to exactly there if nobody has, or waiting for who does."""
    published = Split.read(experiment.split_folder(step))
    if published and experiment.trunk_folder.step(step).exists():
        return published  # without the lock, which a trunk on its way to T may hold for hours
    ensure_trunk(experiment, {step}, splits={step})
    return experiment.split(step)


def ensure_trunk(experiment: Experiment, steps: Collection[int], *, splits: Collection[int] = ()) -> None:
    """Trains the trunk until its state at each of `steps` is on disk; publishes those that are `splits`.

    A step is reached from the nearest earlier state. The trunk's lock is held meanwhile.
    """
    folder = experiment.trunk_folder

    def publish(step: int) -> None:
        if step in splits:
            experiment.split(step).publish(experiment.split_folder(step))

    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.lock):
        missing = stretches(_states(folder, set(steps)), steps)
        # The one from the state of a killed run first: another may leave a state of its own in that place.
        for stretch in sorted(missing, key=lambda stretch: stretch.checkpoint != folder.resume):
            _train(experiment, stretch, SplitCheckpoint(folder, {0, *steps}, publish))
        for step in splits:
            publish(step)


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


def _states(folder: RunFolder, steps: Collection[int]) -> list[Stretch]:
    """Returns the states on disk; one to resume from counts unless it stands at a wanted step, which it must not replace."""
    states = saved_states(folder)
    step = resume_step(folder)
    if step is not None and step not in steps:
        states.append(Stretch(step, step, folder.resume))
    return states


def resume_step(folder: RunFolder) -> int | None:
    """Returns the step at which a killed run goes on, or None."""
    return checkpoint.load(folder.resume).state["global_step"] if folder.resume.exists() else None


def _train(experiment: Experiment, stretch: Stretch, split_checkpoint: SplitCheckpoint) -> None:
    folder = experiment.trunk_folder
    name = RunName(experiment.task.name, experiment.trunk_seed)
    # Lightning takes max_steps=0 as nothing to do and would not even start, so W_0 is saved by a run of one step.
    steps = Stretch(stretch.start, max(stretch.stop, 1), stretch.checkpoint)
    is_behind = stretch.stop <= (resume_step(folder) or -1)  # of a killed run, whose progress is kept
    callbacks = [split_checkpoint]
    order = experiment.trunk_order()
    with failure_recorded(folder):
        fit(experiment, folder, name, order, steps, callbacks=callbacks, is_resumable=not is_behind)
    if not is_behind:
        folder.resume.unlink(missing_ok=True)
    trained_to = max(stretch.stop, read_json(folder.status).get("trained_to", 0))
    write_status(folder, state="finished", step=stretch.stop, trained_to=trained_to)
