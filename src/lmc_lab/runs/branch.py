from dataclasses import replace
from typing import TYPE_CHECKING

from filelock import FileLock

from lmc_lab.process import heavy_imports
from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve_check import set_aside_unless_whole
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.finished import is_finished
from lmc_lab.runs.paths import RunFolder, Seed
from lmc_lab.runs.run import Run
from lmc_lab.runs.split import Split
from lmc_lab.runs.status import (
    check_divergence,
    is_marked_finished,
    outcome_recorded,
    write_finished,
)
from lmc_lab.runs.stretch import Stretch, missing_stretches, resume_step, saved_states

if TYPE_CHECKING:  # Lightning takes longer to import than a finished branch to be seen as such
    from lmc_lab.runs.fit import Trained


def train_from(experiment: Experiment, split: Split, seed: Seed) -> RunFolder:
    """Trains the branch from W_k, which is there, to its endpoint W_T, unless it is finished; returns its folder.

    Branches of one variation differ in their seeds only. States at the settings' `save_steps` are kept; a finished branch
    that lacks some is trained again as far as they go. Damaged files are set aside and made again.

    Raises:
        Diverged: the branch does.
        Stopped: training ended early.
    """
    split_step = split.step
    run = Run(experiment, split_step, seed)
    folder = run.folder
    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.lock), outcome_recorded(folder, experiment.circumstances):
        last = run.last_step
        check_divergence(folder, str(run.name), stop=last, circumstances=experiment.circumstances)
        if is_finished(folder, _steps_to_save(run)):
            return folder
        origin = Stretch(split_step, split_step, experiment.trunk_folder.step(split_step))
        is_curve_there = set_aside_unless_whole(folder)
        is_endpoint_there = checkpoint.load_or_set_aside(folder.endpoint) is not None
        resumed = _resumed(folder, last)
        if resumed is not None or not (is_endpoint_there and is_curve_there):
            trained = _train(run, replace(resumed or origin, stop=last))
            if not is_endpoint_there:  # else it was trained for the curve alone, and another machine rounds otherwise
                _save_endpoint(run, trained)
            folder.resume.unlink(missing_ok=True)
            write_finished(folder, step=last)
        missing = missing_stretches(lambda: [origin, *saved_states(folder)], folder, _steps_to_save(run))
        for stretch in missing:
            _train(run, stretch, is_resumable=False)
        if missing or not is_marked_finished(folder):
            write_finished(folder, step=last)
    return folder


def _steps_to_save(run: Run) -> set[int]:
    """Returns the steps of a branch, its ends excluded, whose state is to be kept."""
    first, last = run.split_step or 0, run.last_step
    return {step for step in run.experiment.settings.save_steps if first < step < last}


def _resumed(folder: RunFolder, last: int) -> Stretch | None:
    """Returns where a killed run of this branch goes on, before its `last` step: what happens there is to happen."""
    step = resume_step(folder)
    return Stretch(step, step, folder.resume) if step is not None and step < last else None


def _train(run: Run, stretch: Stretch, *, is_resumable: bool = True) -> "Trained":
    with heavy_imports():
        from lmc_lab.runs.fit import fit

    is_own = stretch.checkpoint is not None and stretch.checkpoint.parent == run.folder.path  # not the trunk's
    begun = (lambda state: state) if is_own else run.experiment.variation.begun
    return fit(run, stretch, save_at=_steps_to_save(run), begun=begun, is_resumable=is_resumable)


def _save_endpoint(run: Run, trained: "Trained") -> None:
    state = {
        "model": dict(trained.module.state_dict()),
        "step": run.last_step,
        "path_length": trained.path_length,
        "data_digest": run.task.dataset.digest,
    }
    checkpoint.save(state, run.folder.endpoint)
