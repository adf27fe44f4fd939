"""Trains several runs together, as far as that works.

Runs that cannot be trained together are left as they are. The caller asks for each run afterwards, which trains those alone.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lmc_lab.errors import UserError
from lmc_lab.process import heavy_imports
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.finished import is_reached
from lmc_lab.runs.run import Run
from lmc_lab.runs.trunk import ensure_split

if TYPE_CHECKING:
    from lmc_lab.stacked.copies import Randomness

log = logging.getLogger(__name__)
_logged_reasons: set[str] = set()  # why runs are trained alone; each is logged once


def train_branches_side_by_side(runs: Sequence[Run]) -> None:
    """Trains those branches together that can be, as many at a time as `run.together` says, and their trunks to there before.

    Nothing is done where branches are trained alone: that is what a CPU does by default, which gains nothing. On a GPU a branch
    without company is a program, too, since its steps are captured there. Which branches failed is seen by whoever asks for
    each of them next.

    Args:
        runs: branches of one task.

    Raises:
        Stopped: training ended early.
    """
    waiting = [run for run in runs if not run.folder.endpoint.exists()]
    if not _is_wanted(waiting):
        return
    trunks = list({run.experiment.trunk_seed: run.experiment for run in waiting}.values())
    steps = {run.split_step or 0 for run in waiting}
    train_trunks_side_by_side(trunks, steps, splits=steps)
    splits = {(run.experiment.trunk_seed, run.split_step or 0): run.experiment for run in waiting}
    ready = {key for key, trunk in splits.items() if _is_ready(trunk, key[1])}
    waiting = [run for run in waiting if (run.experiment.trunk_seed, run.split_step or 0) in ready]
    with heavy_imports():
        from lmc_lab.runs.together import train_together

    for group in _of_same_examples(waiting):
        _train(group, lambda part, randomness: train_together(part, randomness=randomness))


def _of_same_examples(runs: Sequence[Run]) -> list[list[Run]]:
    """Returns the runs in groups that see the same examples, without those whose examples cannot be chosen."""
    groups: dict[bytes | None, list[Run]] = {}
    for run in runs:
        with suppress(UserError):
            chosen = run.chosen
            groups.setdefault(None if chosen is None else chosen.numpy().tobytes(), []).append(run)
    return list(groups.values())


def train_trunks_side_by_side(
    trunks: Sequence[Experiment], steps: Collection[int], *, splits: Collection[int] = ()
) -> None:
    """Does for trunks of one task what `train_branches_side_by_side` does for branches; see `ensure_trunk`."""
    if not _is_wanted(list(map(Run, trunks))):
        return
    lacking = [Run(trunk) for trunk in trunks if _lacks(trunk, steps, splits)]
    with heavy_imports():
        from lmc_lab.runs.together import train_trunks_together

    def train(part: Sequence[Run], randomness: "Randomness") -> None:
        train_trunks_together([run.experiment for run in part], steps, splits=splits, randomness=randomness)

    _train(lacking, train)


def _lacks(trunk: Experiment, steps: Collection[int], splits: Collection[int]) -> bool:
    """Returns whether a trunk is still to be trained, or something is wrong with its files, as who trains it says."""
    if not trunk.trunk_folder.saved_steps() >= {0, *steps}:
        return True
    with suppress(UserError):
        return not all(is_reached(trunk.split(step), trunk.paths) for step in splits)
    return True


def _is_ready(trunk: Experiment, step: int) -> bool:
    with suppress(UserError):
        return bool(ensure_split(trunk, step))
    return False


def _train(waiting: list[Run], train: "Callable[[Sequence[Run], Randomness], None]") -> None:
    """Trains runs together, as many at a time as is asked for or fit into memory, unless something speaks against it."""
    if not _is_wanted(waiting):
        return
    with heavy_imports():
        from torch.cuda import OutOfMemoryError

        from lmc_lab.runs.companions import why_alone
        from lmc_lab.runs.fit import device_of
        from lmc_lab.runs.memory import num_on

    first, together = waiting[0], waiting[0].experiment.settings.together
    device = device_of(first)
    if reason := why_alone(first, allows_noise=together != "auto", device=device):
        _say(f"one run after another, since {reason}")
        return
    count = int(together) if together != "auto" else num_on(first, device) if len(waiting) > 1 else 1
    while waiting:
        try:
            train(waiting[:count], "error" if together == "auto" else "different")
        except OutOfMemoryError:
            if count == 1:
                _say("one run after another, since memory ran out")
                return
            count = -(-min(count, len(waiting)) // 2)
            log.info("memory ran out, so %d models at a time", count)
        else:
            waiting = waiting[count:]


def _say(reason: str) -> None:
    """Says once why runs are trained one by one."""
    if reason not in _logged_reasons:
        _logged_reasons.add(reason)
        log.info(reason)


def _is_wanted(runs: Sequence[Run]) -> bool:
    """Returns whether runs of one task are to be a program."""
    if not runs or (together := runs[0].experiment.settings.together) == 1:
        return False
    return runs[0].experiment.device == "cuda" or (together != "auto" and len(runs) > 1)
