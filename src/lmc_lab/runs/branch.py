"""Trains branches from the states of a trunk."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lmc_lab.locks import locked
from lmc_lab.process import heavy_imports
from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve_check import set_aside_unless_whole
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.finished import is_choice_kept, is_finished
from lmc_lab.runs.paths import RunFolder, Seed
from lmc_lab.runs.program_state import claim, remove_needless
from lmc_lab.runs.run import ALONE, Company, Run
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
        NoBranches: no examples are chosen for it.
        Stopped: training ended early.
    """
    run = Run(experiment, split.step, seed)
    _train_to_end(run)
    _keep_choice(run)
    return run.folder


def _train_to_end(run: Run) -> None:
    folder, experiment = run.folder, run.experiment
    folder.path.mkdir(parents=True, exist_ok=True)
    with locked(folder.lock), outcome_recorded(folder, experiment.circumstances):
        check_divergence(folder, str(run.name), stop=run.last_step, circumstances=experiment.circumstances)
        if is_finished(folder, steps_to_save(run)):
            return
        if stretch := where_to_begin(run):
            trained = _train(run, stretch)
            complete(run, dict(trained.module.state_dict()), trained.path_length)
        missing = missing_stretches(lambda: [_origin(run), *saved_states(folder)], folder, steps_to_save(run))
        for stretch in missing:
            _train(run, stretch, is_resumable=False)
        if missing or not is_marked_finished(folder):
            write_finished(folder, step=run.last_step, trained=_trained(run))


def _keep_choice(run: Run) -> None:
    """Chooses once more which examples a finished branch saw, if the file that says so is lost or damaged."""
    is_of_some = run.experiment.variation.examples is not None
    if is_of_some and not is_choice_kept(run.experiment.split_folder(run.split_step or 0)):
        _ = run.chosen


def where_to_begin(run: Run) -> Stretch | None:
    """Returns what is to be trained of a branch, whose lock is held, or None if it is finished; sets damaged files aside."""
    folder, last = run.folder, run.last_step
    claim(run)
    is_curve_there = set_aside_unless_whole(folder)
    is_endpoint_there = checkpoint.load_or_set_aside(folder.endpoint) is not None
    resumed = _resumed(folder, last)
    if resumed is None and is_endpoint_there and is_curve_there:
        return None
    return replace(resumed or _origin(run), stop=last)


def complete(run: Run, weights: Mapping[str, Tensor], path_length: float, *, company: Company = ALONE) -> None:
    """Writes the endpoint of a branch, and that it is finished.

    An endpoint that is there stays: training was for the curve alone, and another machine rounds otherwise.

    Args:
        run: the branch.
        weights: parameters and buffers at its last step.
        path_length: from W_0.
        company: in which it was trained.
    """
    if checkpoint.load_or_set_aside(run.folder.endpoint) is None:
        state = {
            "model": dict(weights),
            "step": run.last_step,
            "path_length": path_length,
            "data_digest": run.task.dataset.digest,
        }
        checkpoint.save(state | run.unusual_circumstances(company), run.folder.endpoint)
    run.folder.resume.unlink(missing_ok=True)
    write_finished(run.folder, step=run.last_step, trained=run.circumstances(company))
    remove_needless(run)


def _trained(run: Run) -> Mapping[str, Any]:
    """Returns how a branch was trained, as the endpoint has it, else that of a CPU, alone."""
    usual = {**run.circumstances(), "device": "cpu"}
    circumstances: Mapping[str, Any] = checkpoint.load(run.folder.endpoint).state.get(checkpoint.TRAINED, usual)
    return circumstances


def begin_state(run: Run, stretch: Stretch) -> checkpoint.State:
    """Returns the state in a stretch's checkpoint as the run begins with it.

    Raises:
        UserError: it is damaged, of other data, or cannot be what the branch begins with.
    """
    path = stretch.checkpoint
    assert path is not None  # W_0 of a trunk, which no file has, is begun with by nobody here
    state = checkpoint.load(path).state
    checkpoint.check_data(state, run.task.dataset.digest, path)
    state.pop(checkpoint.TRAINED, None)  # is said of what was, not of what comes
    return _begun(run, stretch)(state)


def _origin(run: Run) -> Stretch:
    """Returns W_k, as a stretch of length zero."""
    step = run.split_step or 0
    return Stretch(step, step, run.experiment.trunk_folder.step(step))


def steps_to_save(run: Run) -> set[int]:
    """Returns the steps of a branch, its ends excluded, whose state is to be kept."""
    first, last = run.split_step or 0, run.last_step
    return {step for step in run.experiment.settings.save_steps if first < step < last}


def _resumed(folder: RunFolder, last: int) -> Stretch | None:
    """Returns where a killed run of this branch goes on, or None.

    A state of the `last` step is left alone, so that the callbacks of that step run.
    """
    step = resume_step(folder)
    return Stretch(step, step, folder.resume) if step is not None and step < last else None


def _train(run: Run, stretch: Stretch, *, is_resumable: bool = True) -> "Trained":
    with heavy_imports():
        from lmc_lab.runs.fit import fit

    return fit(run, stretch, save_at=steps_to_save(run), begun=_begun(run, stretch), is_resumable=is_resumable)


def _begun(run: Run, stretch: Stretch) -> Callable[[checkpoint.State], checkpoint.State]:
    """Returns what turns a stretch's checkpoint into the branch's first state: the trunk's is varied, one of its own stays."""
    is_runs_own = stretch.checkpoint is not None and stretch.checkpoint.parent == run.folder.path
    return (lambda state: state) if is_runs_own else partial(run.experiment.variation.begun, origin=run.origin)
