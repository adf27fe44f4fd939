from dataclasses import replace
from typing import TYPE_CHECKING

from filelock import FileLock

from lmc_lab.process import heavy_imports
from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve_check import set_aside_unless_whole
from lmc_lab.runs.experiment import Experiment, RunName
from lmc_lab.runs.paths import RunFolder, Seed
from lmc_lab.runs.split import Split
from lmc_lab.runs.status import (
    check_divergence,
    is_marked_finished,
    outcome_recorded,
    write_finished,
)
from lmc_lab.runs.stretch import Stretch, missing_stretches, resume_step, saved_states
from lmc_lab.runs.trunk import ensure_split

if TYPE_CHECKING:  # Lightning takes longer to import than a finished branch to be seen as such
    from lmc_lab.runs.fit import Trained


def train_branch(experiment: Experiment, split_step: int, seed: Seed) -> RunFolder:
    """Trains a branch as `train_from` does, and the trunk to k first if that is missing."""
    return train_from(experiment, ensure_split(experiment, split_step), seed)


def train_from(experiment: Experiment, split: Split, seed: Seed) -> RunFolder:
    """Trains the branch from W_k, which is there, to its endpoint W_T, unless it is finished; returns its folder.

    Branches share W_k and the optimizer state there (unless `carry_optimizer_state` is off) and differ in their data order
    only. States at the settings' `save_steps` are kept; a finished branch that lacks some is trained again as far as they
    go. Damaged files are set aside and made again.

    Raises:
        Diverged: the branch does.
        Stopped: training ended early.
    """
    split_step = split.step
    folder = experiment.split_folder(split_step).branch(seed)
    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.lock), outcome_recorded(folder, experiment.circumstances):
        last = experiment.last_step(split_step)
        name = str(_name(experiment, split_step, seed))
        check_divergence(folder, name, stop=last, circumstances=experiment.circumstances)
        origin = Stretch(split_step, split_step, experiment.trunk_folder.step(split_step))
        is_curve_there = set_aside_unless_whole(folder)
        is_endpoint_there = checkpoint.load_or_set_aside(folder.endpoint) is not None
        resumed = _resumed(folder, last)
        if resumed is not None or not (is_endpoint_there and is_curve_there):
            trained = _train(experiment, folder, replace(resumed or origin, stop=last), split_step, seed)
            if not is_endpoint_there:  # else it was trained for the curve alone, and another machine rounds otherwise
                _save_endpoint(experiment, folder, trained, last)
            folder.resume.unlink(missing_ok=True)
            write_finished(folder, step=last)
        missing = missing_stretches(
            lambda: [origin, *saved_states(folder)], folder, _steps_to_save(experiment, split_step)
        )
        for stretch in missing:
            _train(experiment, folder, stretch, split_step, seed, is_resumable=False)
        if missing or not is_marked_finished(folder):
            write_finished(folder, step=last)
    return folder


def _steps_to_save(experiment: Experiment, split_step: int) -> set[int]:
    """Returns the steps of a branch, its ends excluded, whose state is to be kept."""
    return {step for step in experiment.settings.save_steps if split_step < step < experiment.last_step(split_step)}


def _resumed(folder: RunFolder, last: int) -> Stretch | None:
    """Returns where a killed run of this branch goes on, before its `last` step: what happens there is to happen."""
    step = resume_step(folder)
    return Stretch(step, step, folder.resume) if step is not None and step < last else None


def _train(
    experiment: Experiment,
    folder: RunFolder,
    stretch: Stretch,
    split_step: int,
    seed: Seed,
    *,
    is_resumable: bool = True,
) -> "Trained":
    with heavy_imports():
        from lmc_lab.runs.fit import fit

    is_own = stretch.checkpoint is not None and stretch.checkpoint.parent == folder.path  # not the trunk's
    return fit(
        experiment,
        folder,
        _name(experiment, split_step, seed),
        experiment.branch_order(seed),
        stretch,
        save_at=_steps_to_save(experiment, split_step),
        carry_optimizer_state=experiment.carry_optimizer_state or is_own,
        is_resumable=is_resumable,
    )


def _name(experiment: Experiment, split_step: int, seed: Seed) -> RunName:
    return RunName(experiment.task.name, experiment.trunk_seed, split_step, seed)


def _save_endpoint(experiment: Experiment, folder: RunFolder, trained: "Trained", step: int) -> None:
    state = {
        "model": dict(trained.module.state_dict()),
        "step": step,
        "path_length": trained.path_length,
        "data_digest": experiment.task.dataset.digest,
    }
    checkpoint.save(state, folder.endpoint)
