"""Where measurements go: one parquet file of tidy rows for an analysis of a mode, and a manifest of all of them."""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from lmc_lab.analyses.base import Analysis, Measurement
from lmc_lab.files import read_json, replacing, write_json
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.layout import Layout

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


def ensure_rows(experiment: Experiment, mode: Mode, analysis: Analysis, *, seeds: Sequence[int] | None = None) -> Path:
    """Returns the file with the rows of `analysis` on `mode`, after measuring them if nobody has.

    Its key hashes the settings and the endpoints: more samples or more endpoints is another file. `seeds` says that the
    mode was cut down to these on purpose, and goes into the settings, so that it never passes for the whole mode.
    """
    settings = json.dumps(
        analysis.settings() | {"variant": experiment.variant} | ({"seeds": list(seeds)} if seeds else {})
    )
    key = _key(settings, mode)
    path = experiment.layout.result(analysis.name, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            started = time.monotonic()
            rows = _frame(list(analysis.measure(mode, experiment.task)), experiment, mode, analysis, settings)
            _record(experiment.layout, path, experiment, time.monotonic() - started)
            with replacing(path) as temporary:
                rows.to_parquet(temporary, index=False)
    return path


def read_results(layout: Layout) -> pd.DataFrame:
    """Returns all rows of a task; of one analysis of one mode under the same settings only the newest.

    Older ones are those of fewer endpoints.
    """
    manifest = read_json(layout.manifest)
    newest: dict[tuple[Any, ...], pd.DataFrame] = {}
    for name in sorted(manifest, key=lambda name: manifest[name]["created"]):
        path = layout.results / name
        if path.exists():
            rows = pd.read_parquet(path)
            newest[tuple(rows.loc[0, ["analysis", "trunk", "split_step", "settings"]])] = rows
    frames = list(newest.values())
    return pd.concat(frames, ignore_index=True) if frames else empty_frame()


def empty_frame() -> pd.DataFrame:
    """Returns a table with the schema's columns and no rows."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SCHEMA.items()})


def _key(settings: str, mode: Mode) -> str:
    return hashlib.sha256(json.dumps([settings, sorted(mode.digests)]).encode()).hexdigest()[:12]


def _frame(
    measurements: list[Measurement], experiment: Experiment, mode: Mode, analysis: Analysis, settings: str
) -> pd.DataFrame:
    frame = pd.DataFrame([vars(measurement) for measurement in measurements])
    return frame.assign(
        task=experiment.task.name,
        fingerprint=experiment.task.fingerprint,
        trunk=mode.trunk_seed,
        split_step=mode.split_step,
        analysis=analysis.name,
        num_endpoints=len(mode),
        bn_policy=analysis.bn_policy,
        settings=settings,
    )[list(SCHEMA)].astype(SCHEMA)


def _record(layout: Layout, path: Path, experiment: Experiment, seconds: float) -> None:
    """Adds a result to the manifest, before the file itself appears: what is not there yet is skipped by readers."""
    entry = {
        "created": time.time_ns(),
        "seconds": round(seconds, 3),
        "command": " ".join(sys.argv),
        "versions": {name: version(name) for name in _PACKAGES},
        "config": experiment.config_text,
    }
    with FileLock(layout.manifest.with_name(".manifest.lock")):
        write_json(layout.manifest, read_json(layout.manifest) | {path.name: entry})
