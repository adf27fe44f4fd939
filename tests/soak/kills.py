"""SIGKILL at random moments of every stage; the same command then goes on to the same bits."""

import os
import random
import signal
import subprocess
from contextlib import suppress

from shell import environment
from soak.study import STAGES, finish


def stage_by_stage(reference, place, tally, *, kills, seed):
    """Kills each stage `kills` times before it may end."""
    place.mkdir(parents=True)
    chance = random.Random(seed)
    for stage in STAGES:
        for _ in range(kills):
            kill(reference, place, stage, chance)
        wrong = finish(reference, place, stage)
        for _ in range(kills):
            tally.add(f"kill: {stage}", "went on to its end" if wrong is None else "see the violations")
        if wrong:
            tally.violate(f"kill: {stage}", wrong)
    _judge(reference, place, tally, "kill: all stages in turn, then the study")


def whole(reference, place, tally, *, kills, seed):
    """Kills a study `kills` times, wherever it is."""
    place.mkdir(parents=True)
    chance = random.Random(seed)
    for _ in range(kills):
        kill(reference, place, "study", chance)
        tally.add("kill: study", "went on to its end")
    _judge(reference, place, tally, "kill: study, then the study")


def _judge(reference, place, tally, provoked):
    tally.judge(provoked, "the same bits", finish(reference, place) or reference.difference(place))


def kill(reference, place, stage, chance):
    """Starts a stage and kills it at a random moment of the time that it takes: all its processes, or the first alone."""
    seconds = reference.seconds[stage]
    while True:
        process = subprocess.Popen(
            reference.command(stage, place), start_new_session=True, cwd=place, env=environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(timeout=chance.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            break
        seconds /= 2  # it came to its end, since what is there is not done again
    if chance.random() < 0.5:
        process.kill()
        process.wait()  # its processes end by themselves, while the next command may have begun
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
