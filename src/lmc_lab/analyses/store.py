"""Measures what is not measured yet, and writes it: one file of tidy rows for each analysis and subject."""

import hashlib
import json
import logging
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lmc_lab.analyses.base import Analysis, Answer, Choice, LeftOut, Measurement, Record
from lmc_lab.errors import UserError
from lmc_lab.files import DamagedFile, remove_leftovers, set_aside
from lmc_lab.locks import locked
from lmc_lab.process import processor
from lmc_lab.results.folder import file_digest, read_result, records_of
from lmc_lab.results.manifest import index
from lmc_lab.results.row_file import SCHEMA, Entry, write_rows
from lmc_lab.runs import checkpoint
from lmc_lab.runs.checkpoint import State
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.subject import Subject
from lmc_lab.tasks.task import Task
from lmc_lab.versions import versions_with

log = logging.getLogger(__name__)

_MOST_HALVES = 10
_PACKAGES = ("lmc_lab", "torch", "lightning", "hydra-core", "numpy", "pandas", "scipy")


def ensure_rows(experiment: Experiment, subject: Subject, analysis: Analysis) -> Path:
    """Returns the file with the rows of `analysis` on `subject`, after measuring them if nobody has, or if it is damaged.

    Its key hashes the analysis and its version, the settings that are not at their defaults, and what was measured: more
    samples or more endpoints is another file. Whoever asks for the same endpoints shares it, however they were named.
    """
    key = key_of(analysis, identity_settings(analysis, variant=experiment.variant), subject)
    path = experiment.paths.result(analysis.name, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    with locked(path.with_name(f".{path.name}.lock")):
        known = _entry_of(path)
        entry = known or _measure(experiment, subject, analysis, path)
    index(path.parent, anew=set() if known else {path.name})
    for what in entry.left_out:
        log.info("%s: left out are %s", analysis.name, what)
    return path


def identity_settings(analysis: Analysis, *, variant: str) -> dict[str, Any]:
    """Returns what distinguishes two results of an analysis on the same endpoints; what is at its default is left out.

    Args:
        analysis: whose fields they are.
        variant: how the branches were made, which a trunk does not depend on; empty by default.
    """
    made = {"variant": variant} if variant and analysis.subject.has_branches else {}
    return analysis.changed_settings() | made


def key_of(analysis: Analysis, settings: Mapping[str, Any], subject: Subject) -> str:
    """Returns what names a result: a hash of the analysis and its version, `identity_settings`, and the subject's id.

    The id is the digests of all that it is made of, and the branches that are not in it since they diverged: rows say so.
    """
    left_out = [part.diverged for part in subject.parts]
    subject_id = [sorted(subject.digests), *([left_out] if any(left_out) else [])]
    content = [analysis.name, analysis.version, settings, *subject_id]
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


def _measure(experiment: Experiment, subject: Subject, analysis: Analysis, path: Path) -> Entry:
    started = time.monotonic()
    answers = _answers(analysis, subject, experiment.task)
    parts = subject.parts
    records = {item.name: item.tensor for item in answers if isinstance(item, Record)}
    choices = {
        "chosen": {item.name: item.value for item in answers if isinstance(item, Choice)},
        "endpoints": dict(file for part in parts for file in part.files),
    }
    measured = _frame([item for item in answers if isinstance(item, Measurement)], subject.columns)
    rows = pd.concat([measured, *_left_out(subject)]).assign(
        task=experiment.task.name,
        fingerprint=experiment.task.fingerprint,
        analysis=analysis.name,
        bn_policy=analysis.bn_policy,
        settings=json.dumps({**analysis.settings(), **{name: value for name, value in choices.items() if value}}),
    )
    entry = Entry(
        analysis=analysis.name,
        version=analysis.version,
        settings=identity_settings(analysis, variant=experiment.variant),
        subject=parts,
        fingerprint=experiment.task.fingerprint,
        records=_keep(records, records_of(path)) if records else None,
        left_out=tuple(str(item) for item in answers if isinstance(item, LeftOut)),
        created=time.time_ns(),
        seconds=round(time.monotonic() - started, 3),
        command=shlex.join(sys.argv),
        versions=versions_with(*_PACKAGES),
        config=experiment.config,
        machine=processor(),
    )
    write_rows(rows.astype(SCHEMA), entry, path)
    return entry


def _answers(analysis: Analysis, subject: Subject, task: Task) -> list[Answer]:
    """Returns the whole answer. Where a GPU's memory runs out it is begun again, with half as much at a time.

    What is compared by a strict ``<`` is then never of passes of different sizes, on which the last bit may depend.

    Raises:
        UserError: the memory is too small for the task.
    """
    for _ in range(_MOST_HALVES):
        with suppress(torch.OutOfMemoryError):
            return list(analysis.measure(subject, task))  # type: ignore[attr-defined]
        torch.cuda.empty_cache()
        log.info("%s: a GPU's memory ran out, so it begins again with half as much at a time", analysis.name)
        analysis = analysis.with_less_memory()
    raise UserError(
        f"expected a GPU with memory for points of {task.name}, found that it ran out, also with a thousandth of them at "
        "a time; end what else uses it, or evaluate on the CPU (evaluation.device=cpu)"
    )


def _keep(records: State, path: Path) -> str:
    """Writes the tensors beside the rows and returns the digest of the file."""
    checkpoint.save(records, path)
    return file_digest(path)


def _frame(measurements: Sequence[Measurement], of_subject: Mapping[str, int | None]) -> pd.DataFrame:
    rows = pd.DataFrame(map(vars, measurements), columns=list(Measurement.__dataclass_fields__))
    return rows.assign(**of_subject).reindex(columns=list(SCHEMA)).astype(SCHEMA)


def _left_out(subject: Subject) -> Iterator[pd.DataFrame]:
    """Yields which branches are not in the subject since their training diverged, and at which step that was seen."""
    for part in (part for part in subject.parts if part.diverged):
        steps = [Measurement(quantity="diverged_at", value=step, branch=seed) for seed, step in part.diverged]
        # A seed alone does not say which branch it is.
        yield _frame(steps, {**subject.columns, "trunk": part.trunk, "split_step": part.split_step})
