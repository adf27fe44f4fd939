"""``make soak``: kills, races, mutated files and full disks, for less than 40 minutes on two cores."""

import argparse
import logging
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from soak import kills, mutations, no_room, races
from soak.study import undisturbed
from soak.tally import Tally

_AT_A_TIME = 2
_KILLS_OF_ONE_STUDY = 4
_FILES_OF_ONE_STUDY = 8


def main():
    """Runs the soak and exits with 1 if the suite broke a promise."""
    options = _options()
    logging.disable(logging.WARNING)  # ten thousand files are named
    tally, started = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        folder = Path(folder)
        reference = undisturbed(folder / "reference")
        print(f"an undisturbed study: {reference.seconds['study']:.0f} s", flush=True)
        for name, jobs in _stages(reference, folder, tally, options).items():
            begun = time.monotonic()
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                for job in [pool.submit(job) for job in jobs]:
                    job.result()
            print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    print(f"\n{tally.table()}\n")
    print(f"{len(tally.violations)} violations in {(time.monotonic() - started) / 60:.0f} minutes")
    for violation in tally.violations:
        print(f"  {violation}")
    sys.exit(1 if tally.violations else 0)


def _options():
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")
    parser.add_argument("--kills", type=int, default=20, help="in each of six: five stages, and the study as a whole")
    parser.add_argument("--processes", type=int, default=8, help="that ask for one study at once")
    parser.add_argument("--mutations", type=int, default=10_000, help="of files that are read in this process")
    parser.add_argument("--studies", type=int, default=40, help=f"given again with {_FILES_OF_ONE_STUDY} mutated files")
    parser.add_argument("--no-room", type=int, default=1, help="studies on a disk that is full")
    return parser.parse_args()


def _stages(reference, folder, tally, options):
    """Returns the jobs of each stage: functions without arguments, each in a folder of its own."""

    def job(function, name, **arguments):
        def run():
            place = folder / name
            try:
                function(reference, place, tally, **arguments)
            finally:
                shutil.rmtree(place, ignore_errors=True)

        return run

    lives = -(-options.kills // _KILLS_OF_ONE_STUDY)
    each = {"kills": min(_KILLS_OF_ONE_STUDY, options.kills)}
    return {
        "files that are read": [
            job(mutations.read_mutated, "read", times=options.mutations, seed=options.seed),
        ],
        "kills": [
            job(function, f"{function.__name__}-{life}", **each, seed=f"{options.seed} {life}")
            for life in range(lives)
            for function in (kills.stage_by_stage, kills.whole)
        ],
        "races": [job(races.race, "race", processes=options.processes)] if options.processes else [],
        "studies with mutated files": [
            job(mutations.study_mutated, f"mutated-{i}", files=_FILES_OF_ONE_STUDY, seed=f"{options.seed} {i}")
            for i in range(options.studies)
        ],
        "full disks": [job(no_room.fill, f"full-{i}") for i in range(options.no_room)],
    }


if __name__ == "__main__":
    main()
