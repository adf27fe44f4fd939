"""Looks an output folder over: ``python -m lmc_lab.doctor [output_dir] [--repair]``."""

import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lmc_lab.process import heavy_imports

if TYPE_CHECKING:
    from lmc_lab.diagnosis import Finding


def main() -> None:
    """Runs the command line; exit code 1 if something is to be done."""
    parser = ArgumentParser(
        prog="lmc-doctor",
        description="Says what of an output folder is complete, left out, damaged, diverged, unfinished, missing or left over, "
        "and the commands that would mend it.",
    )
    parser.add_argument(
        "output_dir", nargs="?", default="multirun", type=_folder, help="where the products are (default: multirun)"
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="set damaged files aside, as the commands would, and remove the temporary files of killed processes",
    )
    given = parser.parse_args()
    try:
        sys.exit(1 if _look_over(given.output_dir, repair=given.repair) else 0)
    except Exception as error:
        from lmc_lab.sentences import sentence

        text = sentence(error)
        if text is None:
            raise
        sys.exit(f"lmc_lab: {text}")


def _folder(text: str) -> Path:
    """Returns the folder that is named, plainly or as the other commands have it: ``output_dir=…``."""
    return Path(text.removeprefix("output_dir=")).absolute()


def _look_over(output_dir: Path, *, repair: bool) -> bool:
    """Prints what is found; returns whether something is to be done."""
    with heavy_imports():
        from lmc_lab.diagnosis import State, diagnose
        from lmc_lab.results.commands import where_to_give

    findings = list(diagnose(output_dir))
    for state in State:
        of_state = [finding for finding in findings if finding.state is state]
        if of_state:
            print(f"{state}: {len(of_state)}")
        if state is not State.COMPLETE:
            for finding in of_state:
                print(f"  {finding.path.relative_to(output_dir)}{f': {finding.detail}' if finding.detail else ''}")
    commands = _commands([finding.command for finding in findings if finding.command], output_dir)
    if commands:
        where = where_to_give(commands)
        print(f"this makes what is missing, and goes on with what is unfinished{where}:", *commands, sep="\n  ")
        print("(delete the folder of what is not wanted)")
    if repair:
        _repair(findings)
    return any(finding.state in (State.UNFINISHED, State.DAMAGED, State.MISSING) for finding in findings)


def _commands(commands: "Sequence[str]", output_dir: Path) -> list[str]:
    """Returns the commands for this tree, which may have been elsewhere when they were given; seeds as one sweep."""
    from lmc_lab.values import override_text

    here = [] if output_dir == Path("multirun").absolute() else [f"output_dir={override_text(str(output_dir))}"]
    anywhere = [
        shlex.join(word for word in shlex.split(command) if not word.startswith("output_dir=")) for command in commands
    ]
    return [f"{command} {shlex.join(here)}".rstrip() for command in _merged(anywhere)]


def _merged(commands: "Sequence[str]") -> list[str]:
    """Returns the commands, of those that differ in their last argument, the seed, one sweep."""
    seeds: dict[str, list[str]] = {}
    for command in dict.fromkeys(commands):
        before, _, seed = command.rpartition(" seed=")
        seeds.setdefault(before or command, []).append(seed if before else "")
    return [
        before if found == [""] else f"{before} {'-m ' if len(found) > 1 else ''}seed={','.join(found)}"
        for before, found in seeds.items()
    ]


def _repair(findings: "Sequence[Finding]") -> None:
    """Sets damaged files aside, unless somebody is at work on them, and removes what killed processes left."""
    from filelock import Timeout

    from lmc_lab.diagnosis import State
    from lmc_lab.files import is_left_behind, set_aside
    from lmc_lab.locks import locked

    for finding in findings:
        if finding.state is State.DAMAGED:
            try:
                with locked(_lock_of(finding.path), timeout=0):
                    if finding.is_still_so():
                        set_aside(finding.path, finding.detail)  # and says so
            except Timeout:
                print(f"left alone, since a process works on it: {finding.path}")
        elif finding.state is State.LEFT_OVER and is_left_behind(finding.path):
            finding.path.unlink(missing_ok=True)
            print(f"removed: {finding.path}")


def _lock_of(path: Path) -> Path:
    """Returns the lock of whoever makes a file: of its run, of a split's trunk, of a choice, or of a result."""
    from lmc_lab.runs.paths import SplitFolder

    if path.parent.name == "results":
        return path.with_name(".manifest.lock" if path.suffix == ".json" else f".{path.name}.lock")
    split = SplitFolder(path.parent)
    if path == split.examples:
        return split.examples_lock
    return (path.parent.parent if path == split.manifest else path.parent) / ".lock"


if __name__ == "__main__":
    main()
