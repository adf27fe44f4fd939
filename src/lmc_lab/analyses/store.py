"""Where measurements go: one file of tidy rows an analysis and subject, measured once."""

import hashlib
import json
import logging
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from lmc_lab.analyses.base import Analysis, Choice, LeftOut, Measurement, Record
from lmc_lab.analyses.row_file import SCHEMA, Entry, empty_frame, read_rows, write_rows
from lmc_lab.errors import UserError
from lmc_lab.files import DamagedFile, OtherFormat, read_json_or_set_aside, remove_leftovers, set_aside, write_json
from lmc_lab.runs import checkpoint
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.layout import Layout, place_of
from lmc_lab.runs.subject import Part, Subject, columns_of

log = logging.getLogger(__name__)

_PACKAGES = ("lmc_lab", "torch", "lightning", "hydra-core", "numpy", "pandas", "scipy")


@dataclass(frozen=True)
class Result:
    """What one analysis found on one subject."""

    rows: pd.DataFrame
    entry: Entry
    records: Path | None = None  # tensors kept beside the rows


def ensure_rows(experiment: Experiment, subject: Subject, analysis: Analysis) -> Path:
    """Returns the file with the rows of `analysis` on `subject`, after measuring them if nobody has, or if it is damaged.

    Its key hashes the settings and what was measured: more samples or more endpoints is another file. Whoever asks for
    the same endpoints shares it, however the endpoints were named.
    """
    settings = settings_of(analysis, variant=experiment.variant)
    key = _key(analysis, settings, subject)
    path = experiment.layout.result(analysis.name, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    with FileLock(path.with_name(f".{path.name}.lock")):
        known = _entry_of(path)
        entry = known or _measure(experiment, subject, analysis, settings, path)
    _index(experiment.layout, anew=set() if known else {path.name})
    for what in entry.left_out:
        log.info("%s: left out are %s, which weights from elsewhere do not have", analysis.name, what)
    return path


def settings_of(analysis: Analysis, *, variant: str) -> dict[str, Any]:
    """Returns all that two results on the same endpoints may differ in, as JSON holds it.

    Args:
        analysis: whose fields they are.
        variant: how the branches were made, which a trunk does not depend on.
    """
    made = {"variant": variant} if analysis.subject.has_branches else {}
    settings: dict[str, Any] = json.loads(json.dumps(analysis.settings() | made))
    return settings


def read_result(path: Path) -> Result:
    """Returns the result whose rows are in `path`.

    Raises:
        DamagedFile: the rows, or the tensors beside them, are damaged or lost.
        OtherFormat: another version wrote it.
    """
    rows, entry = read_rows(path)
    if entry.records is None:
        return Result(rows, entry)
    records = path.with_suffix(".safetensors")
    try:
        digest = checkpoint.load(records).digest
    except OtherFormat:
        raise
    except UserError as error:
        raise DamagedFile(f"expected {path.name} to have its tensors beside it: {error}") from error
    if digest != entry.records:
        raise DamagedFile(f"expected {records} to be what {path.name} was measured with, found other tensors")
    return Result(rows, entry, records)


def read_results(layout: Layout) -> tuple[list[Result], list[DamagedFile]]:
    """Returns the results of a task, and why others of its files are none."""
    found, damaged = [], []
    for path in sorted(layout.results.glob("*.parquet")):
        try:
            found.append(read_result(path))
        except DamagedFile as error:
            damaged.append(error)
    return found, damaged


def all_rows(results: Collection[Result]) -> pd.DataFrame:
    """Returns the rows of all results as one table."""
    frames = [result.rows for result in results if not result.rows.empty]
    return pd.concat(frames, ignore_index=True) if frames else empty_frame()


def _key(analysis: Analysis, settings: Mapping[str, Any], subject: Subject) -> str:
    left_out = [part.diverged for part in subject.parts]  # the rows say so
    content = [analysis.name, settings, sorted(subject.digests), *([left_out] if any(left_out) else [])]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _entry_of(path: Path) -> Entry | None:
    """Returns what the result in `path` says of itself, or None if there is none, or a damaged one, which is set aside."""
    if not path.exists():
        return None
    try:
        return read_result(path).entry
    except DamagedFile as error:
        set_aside(path, error)
        return None


def _measure(
    experiment: Experiment, subject: Subject, analysis: Analysis, settings: Mapping[str, Any], path: Path
) -> Entry:
    started = time.monotonic()
    found = list(analysis.measure(subject, experiment.task))  # type: ignore[attr-defined]
    parts = subject.parts
    records = {item.name: item.tensor for item in found if isinstance(item, Record)}
    said = {
        "chosen": {item.name: item.value for item in found if isinstance(item, Choice)},
        "endpoints": dict(file for part in parts for file in part.files),
    }
    measured = _frame([item for item in found if isinstance(item, Measurement)], columns_of(parts))
    rows = pd.concat([measured, *_left_out(parts)]).assign(
        task=experiment.task.name,
        fingerprint=experiment.task.fingerprint,
        analysis=analysis.name,
        bn_policy=analysis.bn_policy,
        settings=json.dumps({**settings, **{name: value for name, value in said.items() if value}}),
    )
    entry = Entry(
        analysis=analysis.name,
        settings=settings,
        subject=parts,
        records=checkpoint.save(records, path.with_suffix(".safetensors")) if records else None,
        left_out=tuple(item.what for item in found if isinstance(item, LeftOut)),
        created=time.time_ns(),
        seconds=round(time.monotonic() - started, 3),
        command=" ".join(sys.argv),
        versions={name: version(name) for name in _PACKAGES},
        config=experiment.config,
    )
    write_rows(rows.astype(SCHEMA), entry, path)
    return entry


def _frame(measurements: Sequence[Measurement], of_subject: Mapping[str, int | None]) -> pd.DataFrame:
    found = pd.DataFrame(map(vars, measurements), columns=list(Measurement.__dataclass_fields__))
    return found.assign(**of_subject).reindex(columns=list(SCHEMA)).astype(SCHEMA)


def _left_out(parts: Sequence[Part]) -> Iterator[pd.DataFrame]:
    """Yields which branches are not in the subject since their training diverged, and at which step that was seen."""
    for part in (part for part in parts if part.diverged):
        steps = [Measurement(quantity="diverged_at", value=step, branch=seed) for seed, step in part.diverged]
        yield _frame(steps, {**columns_of(parts), "trunk": part.trunk})  # a seed alone does not say which branch it is


def _index(layout: Layout, *, anew: Collection[str]) -> None:
    """Keeps the manifest the list of what is in the folder, for who looks for a result; nothing here relies on it."""
    with FileLock(layout.manifest.with_name(".manifest.lock")):
        place = place_of(layout.manifest)
        listed = read_json_or_set_aside(layout.manifest, place=place)
        known = {name: entry for name, entry in listed.items() if name not in anew}
        paths = {path.name: path for path in sorted(layout.results.glob("*.parquet"))}
        if known.keys() == paths.keys():
            return
        whole = {name: known.get(name) or _entry_or_none(path) for name, path in paths.items()}
        write_json(layout.manifest, {name: entry for name, entry in whole.items() if entry}, place=place)


def _entry_or_none(path: Path) -> dict[str, Any] | None:
    try:
        return read_rows(path)[1].to_plain()
    except (DamagedFile, FileNotFoundError):
        return None
