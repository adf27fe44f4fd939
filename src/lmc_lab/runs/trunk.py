"""The trunk: the run from W_0 that branches leave. It is trained as far as is asked for, once, under its lock."""

from collections.abc import Callable, Collection
from functools import partial

from lmc_lab.errors import UserError
from lmc_lab.locks import are_used, locked
from lmc_lab.process import heavy_imports
from lmc_lab.runs.curve_check import set_aside_unless_whole
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.finished import is_reached
from lmc_lab.runs.paths import RunFolder
from lmc_lab.runs.program_state import claim, remove_needless
from lmc_lab.runs.run import ALONE, Company, Run
from lmc_lab.runs.split import Split
from lmc_lab.runs.status import check_divergence, outcome_recorded, read_status, write_finished
from lmc_lab.runs.stretch import Stretch, missing_stretches, resume_step, saved_states


def ensure_split(experiment: Experiment, step: int) -> Split:
    """Returns the split at `step`, after training the trunk to exactly there if nobody has, or waiting for who does.

    The trunk's first state is made sure of, too: a mode is measured from it.
    """
    split = experiment.split(step)
    if is_reached(split, experiment.paths):
        return split  # without the lock, which a trunk on its way to T may hold for hours
    if not are_used():
        raise UserError(
            f"expected trunk {experiment.trunk_seed} to have come to step {step}, found that it has not, and without locks no "
            "branch trains it, since others might at the same time; train it first, by the same command without seed"
        )
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
    publish = partial(publish_split, experiment, splits)
    folder.path.mkdir(parents=True, exist_ok=True)
    with locked(folder.lock), outcome_recorded(folder, experiment.circumstances):
        check_divergence(folder, str(Run(experiment).name), stop=max(steps), circumstances=experiment.circumstances)
        claim(Run(experiment))
        if not set_aside_unless_whole(folder):
            again = max(folder.saved_steps(), default=0)
            _train(experiment, Stretch(0, again, None), {0, *steps}, publish)
        missing = trunk_stretches(Run(experiment), steps)
        # The one from the state of a killed run first: another may overwrite that file with a state of its own.
        for stretch in sorted(missing, key=lambda stretch: stretch.checkpoint != folder.resume):
            _train(experiment, stretch, {0, *steps}, publish)
        for step in splits:
            publish(step)


def publish_split(experiment: Experiment, splits: Collection[int], step: int) -> None:
    """Publishes the split at `step`, which the trunk has reached, if it is one of `splits`."""
    if step in splits:
        experiment.split(step).publish(experiment.split_folder(step))


def trunk_stretches(run: Run, steps: Collection[int]) -> list[Stretch]:
    """Returns what is to be trained of a trunk, whose lock is held, so that its state at each of `steps` is there."""
    return missing_stretches(lambda: _states(run.folder, set(steps)), run.folder, steps)


def note_trained(run: Run, step: int, *, company: Company = ALONE) -> None:
    """Writes that a trunk has come to a step, and in which company."""
    trained_to = max(step, read_status(run.folder).get("trained_to", 0))
    write_finished(run.folder, step=step, trained_to=trained_to, trained=run.circumstances(company))
    remove_needless(run)


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


def _train(experiment: Experiment, stretch: Stretch, save_at: Collection[int], on_saved: Callable[[int], None]) -> None:
    with heavy_imports():  # here, since Lightning takes longer than to see that there is nothing to train
        from lmc_lab.runs.fit import fit

    folder = experiment.trunk_folder
    # Lightning takes max_steps=0 as nothing to do and would not even start, so W_0 is saved by a run of one step.
    steps = Stretch(stretch.start, max(stretch.stop, 1), stretch.checkpoint)
    is_behind = stretch.stop <= (resume_step(folder) or -1)  # of a killed run, whose progress is kept
    fit(Run(experiment), steps, save_at=save_at, on_saved=on_saved, is_resumable=not is_behind)
    if not is_behind:
        folder.resume.unlink(missing_ok=True)
    note_trained(Run(experiment), stretch.stop)
