"""Where the numbers of a report come from: settings, machine, versions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from lmc_lab.results.folder import Result


def settings_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns a line for each analysis with each of its settings, on which device it ran, and how points were evaluated."""
    known = rows[["task", "analysis", "settings"]].dropna().drop_duplicates()
    lines: list[dict[str, str]] = []
    for task, analysis, text in known.itertuples(index=False):
        settings = json.loads(text)
        chosen = settings.pop("chosen", {})
        settings.pop("endpoints", None)
        line = {
            "task": task,
            "analysis": analysis,
            "settings": ", ".join(f"{key}={json.dumps(value)}" for key, value in flat(settings)),
            "evaluated": _how(chosen),
        }
        lines += [line] if line not in lines else []
    return pd.DataFrame(lines, columns=["task", "analysis", "settings", "evaluated"])


def versions_of(results: Sequence[Result]) -> str:
    """Returns the versions that measured: ``Python 3.11.2, torch 2.14.1``; several of one where there are several."""
    versions_by_name: dict[str, set[str]] = {}
    for result in results:
        for name, version in result.entry.versions.items():
            versions_by_name.setdefault(name, set()).add(version)
    return ", ".join(f"{name} {' and '.join(sorted(versions))}" for name, versions in sorted(versions_by_name.items()))


def machines_of(results: Sequence[Result]) -> list[str]:
    """Returns the processors that measured, on which the last bits of a run depend; older files do not say theirs."""
    return sorted({result.entry.machine or "a machine not recorded" for result in results})


def _how(chosen: Mapping[str, Any]) -> str:
    forms = {"evaluation": "{}", "device": "on {}", "at_a_time": "{}", "examples": "{} examples"}
    return ", ".join(form.format(chosen[name]) for name, form in forms.items() if name in chosen)


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the settings of an analysis, those of its evaluation among them, by keys as an override has them."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
