"""A trial: the study of one choice of a task's keys, and what it says of the onset."""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from lmc_lab import stages
from lmc_lab.errors import UserError, nearest
from lmc_lab.results.manifest import studies_in
from lmc_lab.runs.paths import logs, reports
from lmc_lab.tune_parameters import Values

if TYPE_CHECKING:
    from pandas import DataFrame

_OWN_KEYS = ("sweep_config", "trials", "tuning_seed", "overrides")
_MADE_OF = {"onset_p_conv": "convex_mode", "onset_centre_better": "convex_mode", "onset_instability": "pairs"}
_METRICS = _MADE_OF | {f"{criterion}_share": analysis for criterion, analysis in _MADE_OF.items()}
_WITHOUT_EFFECT = r"(hydra|logger|locks|figures|figure|sweep|data_dir|cache_dir|output_dir)\b"  # on what a trial finds
_REVERSALS = "_reversals"


@dataclass(frozen=True)
class Trial:
    """The study of some values.

    Args:
        values: of the task's keys.
        name: of its study.
        overrides: of its study.
        output_dir: where it is.
    """

    values: Values
    name: str
    overrides: tuple[str, ...]
    output_dir: Path

    @classmethod
    def of(cls, values: Values, config: DictConfig, given: Sequence[str], sweep: str | None = None) -> "Trial":
        """Returns the trial of some values.

        Args:
            values: of the task's keys.
            config: of `tune`, composed.
            given: the overrides that made it.
            sweep: that the trial is of.
        """
        own = [*config.overrides, *_settings(values)]
        others = [item for item in given if not _is_own(item)]
        told = json.dumps([own, [item for item in others if not re.match(_WITHOUT_EFFECT, key_of(item))]])
        name = f"{sweep or config.study.name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        overrides = (
            *others,
            f"study.name={name}",
            f"figures=[{','.join(config.figures)}]",
            f"overrides={_listed(own)}",
        )
        return cls(values, name, overrides, Path(config.output_dir).absolute())

    @property
    def settings(self) -> list[str]:
        """Returns its values as they are typed: ``task.optimizer.lr=0.1``."""
        return _settings(self.values)

    @property
    def page(self) -> Path:
        """Returns where the page of its study is."""
        return reports(self.output_dir, self.name) / "report.html"

    def run(self) -> None:
        """Runs its study, or goes on with it.

        Raises:
            UserError: it failed, and why: what kept its runs from their end, else the last line that it printed.
        """
        log = logs(self.output_dir) / f"{self.name}.log"
        try:
            stages.run(stages.command("study", *self.overrides), log=log)
        except UserError:
            obstacle = next(self._obstacles(), None)
            if obstacle is None:
                raise
            raise UserError(f"expected every run to come to its end, found: {obstacle} (all of it: {log})") from None

    def _obstacles(self) -> Iterator[str]:
        for folder in sorted(self.output_dir.glob("*/results")):
            for record in studies_in(folder):
                if record.name == self.name:
                    yield from (reason for reasons in record.obstacles.values() for reason in reasons)

    def onsets(self) -> "DataFrame":
        """Returns the onsets that it found, a line for each criterion and trunk.

        Columns: `criterion` (``onset_p_conv``), `trunk`, `last_failed` and `first_held`, the splits between which the onset
        lies (NaN: none), `reversals`, `num_steps`, which is T.

        Raises:
            UserError: there are none.
        """
        from hydra import compose

        from lmc_lab.results.folder import all_rows
        from lmc_lab.study_column import find_column

        own = without_hydras(self.overrides)
        column = find_column(compose("report", overrides=own), own)
        found = _onset_lines(all_rows(column.collected.with_rows))
        if found.empty:
            raise UserError(
                f"expected onsets among the results of {self.name}, found none; add the analysis: +study.analyses.onset={{}}"
            )
        return found.assign(num_steps=int(column.collected.config["task"]["max_steps"]))


def metrics(onsets: "DataFrame") -> dict[str, float]:
    """Returns what a sweep may go by: each criterion's onset, the first split that held, as a mean over trunks.

    A trunk where none held counts as T: branches that part there are one. ``…_share`` is the same as a share of T.
    """
    held = onsets["first_held"].fillna(onsets["num_steps"])
    frame = onsets.assign(steps=held, share=held / onsets["num_steps"])
    means = frame.groupby("criterion")[["steps", "share"]].mean()
    steps = {str(criterion): float(value) for criterion, value in means["steps"].items()}
    return steps | {f"{criterion}_share": float(value) for criterion, value in means["share"].items()}


def check_metric(name: str, analyses: Collection[str]) -> None:
    """Refuses a metric that no trial would have.

    Args:
        name: of the metric.
        analyses: of the study.

    Raises:
        UserError: there is no such, or the study does not measure what it is made of.
    """
    if name not in _METRICS:
        raise UserError(f"expected metric.name to be a metric of a trial, found '{name}'; {nearest(name, _METRICS)}")
    for needed in ("onset", _METRICS[name]):
        if needed not in analyses:
            raise UserError(
                f"expected {needed} among the study's analyses, of which {name} is made, found {', '.join(analyses)}; add "
                f"+study.analyses.{needed}={{}}"
            )


def _onset_lines(rows: "DataFrame") -> "DataFrame":
    """Returns the onsets in rows of the analysis `onset`."""
    own = rows[rows["analysis"].eq("onset")]
    reversals = own[own["quantity"].str.endswith(_REVERSALS)]
    counts = reversals.assign(
        criterion=reversals["quantity"].str.removesuffix(_REVERSALS), reversals=reversals["value"]
    )
    ends = own.assign(criterion=own["quantity"], last_failed=own["low"], first_held=own["high"])
    keys = ["criterion", "trunk"]
    return ends[[*keys, "last_failed", "first_held"]].merge(counts[[*keys, "reversals"]], on=keys)


def _is_own(override: str) -> bool:
    """Returns whether an override is of `tune`, and not of the study."""
    key = key_of(override)
    return key in _OWN_KEYS or key.startswith("task.")


def key_of(override: str) -> str:
    """Returns the key, or the group, that an override is about."""
    return override.partition("=")[0].lstrip("+~")


def without_hydras(overrides: Iterable[str]) -> list[str]:
    """Returns overrides without Hydra's own, which `compose` does not take."""
    return [item for item in overrides if not re.match(r"hydra\b", key_of(item))]


def task_values(overrides: Sequence[str]) -> Values:
    """Returns the values of the task's keys on a command line: ``+task.optimizer.lr=0.1``.

    Raises:
        UserError: another task is asked for.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for item in overrides:
        if re.match(r"task(/|$)", key_of(item)):
            raise UserError(
                f"expected keys of the task beside the study, found {item}; write 'overrides=[\"{item.lstrip('+')}\"]'"
            )
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    values: dict[str, Any] = {
        item.key_or_group: item.value() for item in parsed if item.key_or_group.startswith("task.")
    }
    is_of_agent = "WANDB_SWEEP_ID" in os.environ  # which writes null as Python does
    return {key: None if is_of_agent and value == "None" else value for key, value in values.items()}


def _settings(values: Values) -> list[str]:
    return [f"{key}={override_text(value)}" for key, value in values.items()]


def override_text(value: object) -> str:
    """Returns a value as Hydra reads it back, a text in quotes where it would be read as something else."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(override_text, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{override_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and not (value and _reads_back(value)):
        return "'" + value.replace("'", "\\'") + "'"
    return str(value)


def _reads_back(text: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        (found,) = OverridesParser.create().parse_overrides([f"key={text}"])
        return not found.is_sweep_override() and found.value() == text
    except HydraException:
        return False


def _listed(items: Iterable[str]) -> str:
    """Returns a list of texts as an override has it."""
    return "[" + ",".join('"' + item.replace('"', '\\"') + '"' for item in items) + "]"
