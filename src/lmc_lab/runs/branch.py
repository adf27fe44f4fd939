from filelock import FileLock

from lmc_lab.files import read_json
from lmc_lab.runs import checkpoint
from lmc_lab.runs.experiment import Experiment, RunName
from lmc_lab.runs.fit import Stretch, Trained, fit
from lmc_lab.runs.layout import RunFolder, Seed
from lmc_lab.runs.status import failure_recorded, write_status
from lmc_lab.runs.trunk import ensure_split, resume_step


def is_finished(folder: RunFolder) -> bool:
    """Returns whether the branch has an endpoint; status.json says so last."""
    return read_json(folder.status).get("state") == "finished" and folder.endpoint.exists()


def train_branch(experiment: Experiment, split_step: int, seed: Seed) -> RunFolder:
    """Trains the branch from W_k to its endpoint W_T, unless it is finished; returns its folder.

    The trunk is trained to k first if that is missing. Branches share W_k and the optimizer state there (unless
    `carry_optimizer_state` is off) and differ in their data order only.
    """
    split = ensure_split(experiment, split_step)
    folder = experiment.split_folder(split_step).branch(seed)
    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.lock):
        if is_finished(folder):
            return folder
        origin = Stretch(split_step, split_step, experiment.trunk_folder.path / split.checkpoint)
        with failure_recorded(folder):
            trained = _train(experiment, folder, _resumed(folder) or origin, split_step, seed)
            _save_endpoint(experiment, folder, trained, split_step)
    return folder


def _resumed(folder: RunFolder) -> Stretch | None:
    """Returns where a killed run of this branch goes on."""
    step = resume_step(folder)
    return None if step is None else Stretch(step, step, folder.resume)


def _train(experiment: Experiment, folder: RunFolder, origin: Stretch, split_step: int, seed: Seed) -> Trained:
    return fit(
        experiment,
        folder,
        RunName(experiment.task.name, experiment.trunk_seed, split_step, seed),
        experiment.branch_order(seed),
        Stretch(origin.start, experiment.last_step(split_step), origin.checkpoint),
        carry_optimizer_state=experiment.carry_optimizer_state or origin.checkpoint == folder.resume,
    )


def _save_endpoint(experiment: Experiment, folder: RunFolder, trained: Trained, split_step: int) -> None:
    step = experiment.last_step(split_step)
    state = {
        "model": dict(trained.module.model.state_dict()),
        "step": step,
        "path_length": trained.path_length,
        "data_digest": experiment.task.dataset.digest,
    }
    checkpoint.save(state, folder.endpoint)
    folder.resume.unlink(missing_ok=True)
    write_status(folder, state="finished", step=step)
