"""Stretches: the steps of a run from one state to another, and which of them are still to be trained."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from lmc_lab.runs import checkpoint
from lmc_lab.runs.paths import RunFolder


@dataclass(frozen=True)
class Stretch:
    """Steps `start` to `stop` of a run, from the state in `checkpoint` (None: from W_0)."""

    start: int
    stop: int
    checkpoint: Path | None


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
        of_this_run = {origin for origin in origins if origin.parent == folder.path}
        for origin in origins - of_this_run:
            checkpoint.load(origin)  # another run's, whose lock is not held here
        if all([checkpoint.load_or_set_aside(origin) for origin in of_this_run]):
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
