"""Where measurements go: one parquet file of tidy rows an analysis and subject, and a manifest of all of them."""

import hashlib
import json
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from lmc_lab.analyses.base import Analysis, JointAnalysis, Measurement, Record, TrunkAnalysis
from lmc_lab.files import read_json, replacing, write_json
from lmc_lab.runs import checkpoint
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.layout import Layout
from lmc_lab.runs.states import Trunk

SCHEMA = {
    "task": "string",
    "fingerprint": "string",
    "trunk": "Int64",
    "split_step": "Int64",
    "branch": "Int64",
    "step": "Int64",
    "index": "Int64",
    "analysis": "string",
    "quantity": "string",
    "subset": "string",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "num_samples": "Int64",
    "num_endpoints": "Int64",
    "bn_policy": "string",
    "settings": "string",
}

_PACKAGES = ("lmc_lab", "torch", "lightning", "hydra-core", "numpy", "pandas", "scipy")


Subject = Mode | Trunk | Sequence[Mode]  # what a ModeAnalysis, a TrunkAnalysis, a JointAnalysis measures


def ensure_rows(
    experiment: Experiment, subject: Subject, analysis: Analysis, *, seeds: Sequence[int] | None = None
) -> Path:
    """Returns the file with the rows of `analysis` on `subject`, after measuring them if nobody has.

    Its key hashes the settings and what was measured: more samples or more endpoints is another file. `seeds` says that
    a mode was cut down to these on purpose, and goes into the settings, so that it never passes for the whole mode.
    """
    settings = settings_text(analysis, variant=experiment.variant, trunks=_trunks(subject), seeds=seeds)
    key = hashlib.sha256(json.dumps([settings, *_digests(subject)]).encode()).hexdigest()[:12]
    path = experiment.layout.result(analysis.name, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            started = time.monotonic()
            found = list(analysis.measure(subject, experiment.task))  # type: ignore[attr-defined]
            rows = _frame(found, experiment, subject, analysis, settings)
            if records := {item.name: item.tensor for item in found if isinstance(item, Record)}:
                checkpoint.save(records, experiment.layout.records(analysis.name, key))
            _record(experiment.layout, path, experiment, time.monotonic() - started)
            with replacing(path) as temporary:
                rows.to_parquet(temporary, index=False)
    return path


def settings_text(
    analysis: Analysis, *, variant: str, trunks: Sequence[int], seeds: Sequence[int] | None = None
) -> str:
    """Returns the column `settings`: all that two results on the same trunk or split may differ in.

    Args:
        analysis: whose fields they are.
        variant: how the branches were made, which a trunk does not depend on.
        trunks: of a `JointAnalysis`.
        seeds: to which a mode was cut down on purpose.
    """
    content = analysis.settings()
    if not isinstance(analysis, TrunkAnalysis):
        content |= {"variant": variant} | ({"seeds": sorted(seeds)} if seeds else {})
    if isinstance(analysis, JointAnalysis):
        content |= {"trunks": sorted(trunks)}
    return json.dumps(content)


@dataclass(frozen=True)
class Result:
    """What one analysis found on one subject."""

    rows: pd.DataFrame
    seconds: float  # that it took
    records: Path | None  # tensors kept beside the rows


def read_results(layout: Layout, settings: Collection[str] | None = None) -> list[Result]:
    """Returns the results of a task; of one analysis of one subject under the same settings only the newest.

    Older ones are those of fewer endpoints.

    Args:
        layout: of the task.
        settings: only results whose column `settings` is one of these; all for None.
    """
    manifest = read_json(layout.manifest)
    newest: dict[tuple[Any, ...], Result] = {}
    for name in sorted(manifest, key=lambda name: manifest[name]["created"]):
        path = layout.results / name
        rows = pd.read_parquet(path) if path.exists() else empty_frame()
        is_meant = settings is None or rows["settings"].isin(settings).all()
        if not rows.empty and is_meant:  # predictions of a regression, say, have no rows
            records = path.with_suffix(".safetensors")
            result = Result(rows, manifest[name]["seconds"], records if records.exists() else None)
            newest[tuple(rows.loc[0, ["analysis", "trunk", "split_step", "settings"]])] = result
    return list(newest.values())


def all_rows(results: Collection[Result]) -> pd.DataFrame:
    """Returns the rows of all results as one table."""
    frames = [result.rows for result in results]
    return pd.concat(frames, ignore_index=True) if frames else empty_frame()


def read_config(layout: Layout) -> dict[str, Any]:
    """Returns the config that the newest rows of a task were computed with."""
    manifest = read_json(layout.manifest)
    entries = sorted(manifest.values(), key=lambda entry: entry["created"])
    return entries[-1]["config"] if entries else {}


def empty_frame() -> pd.DataFrame:
    """Returns a table with the schema's columns and no rows."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SCHEMA.items()})


def _digests(subject: Subject) -> list[str]:
    return sorted(
        subject.digests if isinstance(subject, Mode | Trunk) else [d for mode in subject for d in mode.digests]
    )


def _trunks(subject: Subject) -> list[int]:
    return [subject.trunk_seed] if isinstance(subject, Mode | Trunk) else [mode.trunk_seed for mode in subject]


def _columns(subject: Subject) -> dict[str, int | None]:
    """Returns what the columns say of what was measured."""
    if isinstance(subject, Trunk):
        return {"trunk": subject.trunk_seed, "split_step": None, "num_endpoints": None}
    if isinstance(subject, Mode):
        return {"trunk": subject.trunk_seed, "split_step": subject.split_step, "num_endpoints": len(subject)}
    return {"trunk": None, "split_step": subject[0].split_step, "num_endpoints": sum(map(len, subject))}


def _frame(
    found: list[Measurement | Record], experiment: Experiment, subject: Subject, analysis: Analysis, settings: str
) -> pd.DataFrame:
    fields = list(Measurement.__dataclass_fields__)
    measurements = [vars(item) for item in found if isinstance(item, Measurement)]
    return (
        pd.DataFrame(measurements, columns=fields)
        .assign(
            task=experiment.task.name,
            fingerprint=experiment.task.fingerprint,
            analysis=analysis.name,
            bn_policy=analysis.bn_policy,
            settings=settings,
            **_columns(subject),
        )[list(SCHEMA)]
        .astype(SCHEMA)
    )


def _record(layout: Layout, path: Path, experiment: Experiment, seconds: float) -> None:
    """Adds a result to the manifest, before the file itself appears: what is not there yet is skipped by readers."""
    entry = {
        "created": time.time_ns(),
        "seconds": round(seconds, 3),
        "command": " ".join(sys.argv),
        "versions": {name: version(name) for name in _PACKAGES},
        "config": experiment.config,
    }
    with FileLock(layout.manifest.with_name(".manifest.lock")):
        write_json(layout.manifest, read_json(layout.manifest) | {path.name: entry})
