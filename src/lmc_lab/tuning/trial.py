"""A trial: the study of one choice of a task's keys, and what it says of the onset."""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from lmc_lab import stages
from lmc_lab.errors import UserError, nearest
from lmc_lab.results.manifest import studies_in
from lmc_lab.runs.paths import logs, reports
from lmc_lab.tuning.overrides import key_of, settings_of, without_hydras
from lmc_lab.tuning.parameters import Values
from lmc_lab.values import override_text

if TYPE_CHECKING:
    from pandas import DataFrame

    from lmc_lab.results.study_results import StudyResults

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
        settings: the same as they are typed: ``task.optimizer.lr=0.1``.
        name: of its study.
        overrides: of its study.
        output_dir: where it is.
    """

    values: Values
    settings: tuple[str, ...]
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
        settings = settings_of(values, _task_of(config))
        trial_overrides = [*config.overrides, *settings]
        further = [item for item in given if not _is_own(item)]
        identity = json.dumps(
            [trial_overrides, [item for item in further if not re.match(_WITHOUT_EFFECT, key_of(item))]]
        )
        name = f"{sweep or config.study.name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
        overrides = (
            *further,
            f"study.name={name}",
            f"figures=[{','.join(config.figures)}]",
            f"overrides={override_text(trial_overrides)}",
        )
        return cls(values, tuple(settings), name, overrides, Path(config.output_dir).absolute())

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

    @cached_property
    def _results(self) -> "StudyResults":
        from hydra import compose

        from lmc_lab.studies.column import find_column

        overrides = without_hydras(self.overrides)
        return find_column(compose("report", overrides=overrides), overrides).collected

    @property
    def _task(self) -> Mapping[str, Any]:
        task: Mapping[str, Any] = self._results.config["task"]
        return task

    def onsets(self) -> "DataFrame":
        """Returns the onsets that it found, a line for each criterion and trunk.

        Columns: `criterion` (``onset_p_conv``), `trunk`, `last_failed` and `first_held`, the splits between which the onset
        lies (NaN: none), `reversals`, `num_steps`, which is T.

        Raises:
            UserError: there are none.
        """
        from lmc_lab.results.folder import all_rows

        lines = _onset_lines(all_rows(self._results.with_rows))
        if lines.empty:
            raise UserError(
                f"expected onsets among the results of {self.name}, found none; add the analysis: +study.analyses.onset={{}}"
            )
        return lines.assign(num_steps=int(self._task["max_steps"]))

    def turning_points(self) -> "DataFrame":
        """Returns where each detector of the onset turns along each trunk; see `tuning.detection.turning_points`."""
        from lmc_lab.results.folder import all_rows
        from lmc_lab.tuning.detection import turning_points

        rate = self._task["optimizer"].get("lr")
        return turning_points(all_rows(self._results.with_rows), rate if isinstance(rate, int | float) else None)


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
    onsets = rows[rows["analysis"].eq("onset")]
    reversals = onsets[onsets["quantity"].str.endswith(_REVERSALS)]
    counts = reversals.assign(
        criterion=reversals["quantity"].str.removesuffix(_REVERSALS), reversals=reversals["value"]
    )
    ends = onsets.assign(criterion=onsets["quantity"], last_failed=onsets["low"], first_held=onsets["high"])
    keys = ["criterion", "trunk"]
    return ends[[*keys, "last_failed", "first_held"]].merge(counts[[*keys, "reversals"]], on=keys)


def _task_of(config: DictConfig) -> DictConfig:
    """Returns the task that the study of trials is of, before their values."""
    from hydra import compose

    task: DictConfig = compose("train", overrides=[*config.study.overrides, *config.overrides]).task
    return task


def _is_own(override: str) -> bool:
    """Returns whether an override is of `tune`, and not of the study."""
    key = key_of(override)
    return key in _OWN_KEYS or key.startswith("task.")
