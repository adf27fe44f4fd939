"""What of an output tree is complete, left out, damaged, diverged, unfinished, missing or left over; only looks."""

import fcntl
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from lmc_lab.errors import UserError
from lmc_lab.files import DamagedFile, MissingFile, OtherFormat, is_left_behind, peek_json, read_json
from lmc_lab.results.commands import words_of
from lmc_lab.results.folder import read_result
from lmc_lab.results.manifest import NAME as MANIFEST
from lmc_lab.results.manifest import studies_in
from lmc_lab.results.part import subject_text
from lmc_lab.results.study_results import collect
from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve_check import whole_curve
from lmc_lab.runs.paths import RunFolder, RunPaths, SplitFolder, address_of


class State(StrEnum):
    """What a thing in an output tree is."""

    COMPLETE = "complete"
    RUNNING = "running"
    UNFINISHED = "unfinished"
    DIVERGED = "diverged"
    LEFT_OUT = "left out"
    DAMAGED = "damaged"
    MISSING = "missing"
    OTHER_FORMAT = "of another format"
    LEFT_OVER = "left over"


@dataclass(frozen=True)
class Finding:
    """What one thing in an output tree is.

    Args:
        path: of the run, the file, or the study's manifest.
        state: what it is.
        detail: why, or how far.
        command: that makes it, or goes on with it; empty if nothing is to be done.
    """

    path: Path
    state: State
    detail: str = ""
    command: str = ""
    read: Callable[[], object] | None = field(
        default=None, compare=False, repr=False
    )  # the file, if it is a damaged one

    def is_still_so(self) -> bool:
        """Returns whether a damaged file is there, and still damaged."""
        return self.read is not None and self.path.exists() and bool([*_wrong(self.path, self.read, "")])


def diagnose(output_dir: Path) -> Iterator[Finding]:
    """Yields what is found of each task below `output_dir`.

    Raises:
        UserError: there is no such folder, or it holds no task.
    """
    tasks = sorted({path.parent for pattern in ("*/trunk-*", "*/results") for path in output_dir.glob(pattern)})
    if not tasks:
        raise UserError(f"expected an output folder with runs or results, found none in {output_dir}; name another one")
    for task in tasks:
        for trunk in _numbered(task, r"trunk-(\d+)"):
            yield from _of_trunk(RunFolder(trunk))
        if (task / "results").is_dir():
            yield from _of_results(task / "results")
        yield from _of_programs(RunPaths(task))


def _of_trunk(folder: RunFolder) -> Iterator[Finding]:
    splits = [SplitFolder(path) for path in _numbered(folder.path, r"split-(\d+).*")]
    branches = {split.path: [RunFolder(path) for path in _numbered(split.path, r"branch-(\w+)")] for split in splits}
    again = {split.path: next(filter(None, map(command_of, branches[split.path])), "") for split in splits}
    # A state that branches leave is made again by theirs; the trunk's own command may not come by there.
    commands = {folder.step(0): next(filter(None, again.values()), "")}
    commands |= {folder.step(_step_of(split)): again[split.path] for split in splits}
    yield from _of_run(folder, [folder.step(step) for step in sorted(folder.saved_steps())], commands)
    if splits and not folder.step(0).exists():
        yield Finding(folder.step(0), State.MISSING, "W_0, from which modes are measured", commands[folder.step(0)])
    for split in splits:
        yield from _of_split(folder, split, again[split.path] or command_of(folder))
        for branch in branches[split.path]:
            states = [branch.step(each) for each in sorted(branch.saved_steps())]
            yield from _of_run(branch, [branch.endpoint, *states])
        yield from _left_over(split.path, {split.manifest.name, split.examples.name})


def _of_programs(paths: RunPaths) -> Iterator[Finding]:
    """Yields what programs left that were ended, and what else lies beside the trunks."""
    states = paths.programs()
    for path in states:
        wrong = [*_wrong(path, lambda path=path: checkpoint.load(path), "")]  # type: ignore[misc]
        yield from wrong or [Finding(path, State.UNFINISHED, "runs together, which each run goes on from")]
    yield from _left_over(paths.root, {path.name for path in states})


def _step_of(split: SplitFolder) -> int:
    return int(re.match(r"split-(\d+)", split.path.name)[1])  # type: ignore[index]


def _of_split(trunk: RunFolder, split: SplitFolder, command: str) -> Iterator[Finding]:
    """Yields what is wrong with the start of a split's branches."""
    start = trunk.step(_step_of(split))
    if not start.exists() and start != trunk.step(0):
        yield Finding(start, State.MISSING, "the state that the branches leave", command)
    if not split.manifest.exists():
        yield Finding(split.manifest, State.MISSING, "what says that the trunk has come here", command)
    if _has_lost_choice(split):
        yield Finding(split.examples, State.MISSING, "which examples its branches saw", command)
    for path in (split.manifest, split.examples):
        yield from _wrong(path, lambda path=path: read_json(path, address=address_of(path)), command)  # type: ignore[misc]


def _has_lost_choice(split: SplitFolder) -> bool:
    """Returns whether nothing says which examples the finished branches of a split saw that did not see all."""
    described = peek_json(split.manifest, address=address_of(split.manifest)).get("described", {})
    is_chosen = "examples" in described and not split.examples.exists()
    return is_chosen and any(split.path.glob("branch-*/endpoint.safetensors"))


def _of_run(folder: RunFolder, states: list[Path], commands: Mapping[Path, str] | None = None) -> Iterator[Finding]:
    """Yields what a trunk or a branch is, and which of its files are damaged, missing or left over.

    Args:
        folder: of the run.
        states: whose files are looked at.
        commands: that make a file again, where it is not the run's own.
    """
    command = command_of(folder)
    if _is_locked(folder.lock):  # its files are being written
        yield Finding(folder.path, State.RUNNING, f"step {peek_json(folder.status).get('step', 0)}")
        return
    damaged = [*_wrong(folder.status, lambda: read_json(folder.status, address=address_of(folder.status)), command)]
    status = {} if damaged else read_json(folder.status, address=address_of(folder.status))
    for path in [*states, *([folder.resume] if folder.resume.exists() else [])]:
        if path.exists():
            own = (commands or {}).get(path) or command
            damaged += _wrong(path, lambda path=path: checkpoint.load(path), own)  # type: ignore[misc]
    if folder.metrics.exists():
        damaged += _wrong(folder.metrics, lambda: whole_curve(folder), command)
    if status and not folder.config.exists():
        yield Finding(folder.config, State.MISSING, "the settings of a run, and the command that trains it")
    yield from damaged
    state = status.get("state", "missing")
    if state == "finished":
        lost = [path for path in [folder.metrics, *states] if not path.exists()]
        yield from (Finding(path, State.MISSING, "of a finished run", command) for path in lost)
        if not damaged and not lost:
            yield Finding(folder.path, State.COMPLETE, f"step {status.get('trained_to', status.get('step'))}")
    elif state == "diverged":
        yield Finding(folder.path, State.DIVERGED, f"at step {status.get('step')}")
    elif state == "left out":
        yield Finding(folder.path, State.LEFT_OUT, "no examples were chosen for it")
    elif not damaged:
        how = "never began" if state == "missing" else f"{'killed' if state == 'running' else state}"
        yield Finding(folder.path, State.UNFINISHED, how, command)
    yield from _left_over(folder.path, {path.name for path in (folder.config, folder.status, folder.metrics)})


def _of_results(folder: Path) -> Iterator[Finding]:
    """Yields what the results are, and what the studies lack that asked for them."""
    listed = peek_json(folder / MANIFEST, address=MANIFEST).get("results", {})
    for path in sorted(folder.glob("*.parquet")):
        command = _as_typed(listed.pop(path.name, {}).get("command", ""))
        wrong = [*_wrong(path, lambda path=path: read_result(path), command)]  # type: ignore[misc]
        yield from wrong or [Finding(path, State.COMPLETE)]
    for name, entry in sorted(listed.items()):
        yield Finding(folder / name, State.MISSING, "rows that were measured", _as_typed(entry.get("command", "")))
    for path in sorted(folder.glob("*.safetensors")):
        if not path.with_suffix(".parquet").exists():
            yield Finding(path, State.LEFT_OVER, "tensors without the rows that they belong to")
    manifest = folder / MANIFEST
    for damage in _wrong(manifest, lambda: read_json(manifest, address=MANIFEST), ""):
        yield replace(damage, detail=f"{damage.detail}; the next study or analysis writes it anew")
    for record in studies_in(folder):
        try:
            collected = collect(record, folder)
        except OtherFormat:
            continue  # said above
        lacking = [
            f"{item.analysis} of {subject_text(item.subject)}" for item in (*collected.missing, *collected.partial)
        ]
        if lacking:
            yield Finding(manifest, State.MISSING, f"study {record.name}: {_some(lacking)}", record.command)
        else:
            yield Finding(manifest, State.COMPLETE, f"study {record.name}: {len(record.wanted)} results")
    yield from _left_over(folder, {MANIFEST}, {".parquet", ".safetensors"})


def _as_typed(command: str) -> str:
    """Returns the command line of a process, whose first word is the path of the program, as a user types it."""
    program, *arguments = words_of(command) or [""]
    stem, is_whole = Path(program).stem.removeprefix("lmc-"), all(map(_is_argument, arguments))
    return shlex.join(["python", "-m", f"lmc_lab.{stem}", *arguments]) if stem == "analyze" and is_whole else ""


def _is_argument(word: str) -> bool:
    return word.startswith(("-", "~", "/", ".")) or "=" in word


def _some(items: list[str]) -> str:
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")


def _wrong(path: Path, read: Callable[[], object], command: str) -> Iterator[Finding]:
    """Yields what is wrong with a file, nothing if it is whole."""
    try:
        read()
    except FileNotFoundError:
        return  # it was there a moment ago: somebody is at work
    except OtherFormat as error:
        yield Finding(path, State.OTHER_FORMAT, str(error))
    except MissingFile as error:
        yield Finding(path, State.MISSING, str(error), command)
    except DamagedFile as error:
        yield Finding(path, State.DAMAGED, str(error), command, read)


def _left_over(folder: Path, known: set[str], suffixes: frozenset[str] | set[str] = frozenset()) -> Iterator[Finding]:
    """Yields files that nothing reads: of killed processes, set aside, or of somebody else."""
    for path in sorted(folder.iterdir()):
        is_ours = path.name in known or path.suffix in suffixes or path.name.endswith(".lock") or path.is_dir()
        is_state = re.fullmatch(r"(step-\d+|endpoint|resume)\.safetensors", path.name) is not None
        if is_left_behind(path):
            yield Finding(path, State.LEFT_OVER, "of a process that was killed")
        elif ".corrupt" in path.name:
            yield Finding(path, State.LEFT_OVER, "a damaged file that was set aside")
        elif not is_ours and not is_state and not path.name.endswith(".tmp"):
            yield Finding(path, State.LEFT_OVER, "not a file of this package")


def command_of(folder: RunFolder) -> str:
    """Returns the command that trains a run, as its config.yaml says; empty if there is none."""
    with suppress(OSError, UnicodeDecodeError):
        first = folder.config.read_text().partition("\n")[0]
        return first.removeprefix("# ") if first.startswith("# python ") else ""
    return ""


def _is_locked(path: Path) -> bool:
    """Returns whether a process holds the lock; it is not made, and taken, shared, for an instant alone."""
    with suppress(OSError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """Returns the folders below `folder` whose names match, by their numbers."""
    found = [
        (match[1], path) for path in folder.iterdir() if (match := re.fullmatch(pattern, path.name)) and path.is_dir()
    ]
    return [path for number, path in sorted(found, key=lambda item: (item[0].zfill(20), item[1].name))]
