"""Trains what it can of several branches as one program; whoever trains them one by one afterwards does the rest."""

import logging
from collections.abc import Sequence

from lmc_lab.process import heavy_imports
from lmc_lab.runs.run import Run

log = logging.getLogger(__name__)


def train_side_by_side(runs: Sequence[Run]) -> None:
    """Trains those branches together that can be, as many at a time as `run.together` says.

    Nothing is done where branches are trained alone: that is what a CPU does by default, which gains nothing. Which branches
    failed is seen by whoever asks for each of them next.

    Args:
        runs: branches of one task, whose W_k are there.

    Raises:
        Stopped: training ended early.
    """
    waiting = [run for run in runs if not run.folder.endpoint.exists()]
    if len(waiting) < 2 or not _is_wanted(waiting[0]):
        return
    with heavy_imports():
        import torch

        from lmc_lab.runs.companions import num_on, why_alone
        from lmc_lab.runs.together import train_together

    together = waiting[0].experiment.settings.together
    if reason := why_alone(waiting[0], allows_noise=together != "auto"):
        log.info("one branch after another, since %s", reason)
        return
    count = num_on(waiting[0], torch.device(waiting[0].experiment.device)) if together == "auto" else int(together)
    while waiting:
        try:
            train_together(waiting[:count], randomness="error" if together == "auto" else "different")
        except torch.cuda.OutOfMemoryError:
            if count == 1:
                raise
            count = -(-min(count, len(waiting)) // 2)
            log.info("memory ran out, so %d models at a time", count)
        else:
            waiting = waiting[count:]


def _is_wanted(run: Run) -> bool:
    together = run.experiment.settings.together
    return run.experiment.device != "cpu" if together == "auto" else together != 1
