"""Weights & Biases, a mirror of what is on disk; the only file that imports it."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, cast, final

import pandas as pd
import torch
import wandb
from lightning.pytorch.loggers import Logger, WandbLogger

from lmc_lab.data.examples import Examples
from lmc_lab.landscape.predictions import unpack_mask
from lmc_lab.reporting.examples import example_table
from lmc_lab.results.folder import Result, all_rows
from lmc_lab.runs import checkpoint
from lmc_lab.runs.experiment import RunName
from lmc_lab.values import Condition, check_value

Way = Literal["online", "offline", "disabled"]
Mode = Literal["auto", "online", "offline", "disabled"]
_MODES = {"run": "online", "dryrun": "offline"}  # older names, which WANDB_MODE may still have
_HAS_ACCOUNT = Condition(
    "for online with a key of Weights & Biases (`wandb login`, or WANDB_API_KEY)",
    lambda mode: mode != "online" or _has_key(),
)


def _has_key() -> bool:
    """Returns whether there is a key of Weights & Biases; asks for none."""
    with redirect_stderr(StringIO()):  # it would tell that it found none
        return wandb.login(prompt=False)


def way_of(mode: Mode) -> Way | None:
    """Returns how is logged: ``auto`` as WANDB_MODE says, else online where there is a key; None for not at all."""
    if mode != "auto":
        return mode
    if given := os.environ.get("WANDB_MODE"):
        found = _MODES.get(given, given)
        check_value(found, Way, "WANDB_MODE")
        return cast("Way", found)
    return "online" if _has_key() else None


@final
class _WandbRun(WandbLogger):
    """A logger whose run ends with its trunk or branch: the next run of this process would go on in it otherwise.

    Offline, what was written of the same run before is replaced, so that ``wandb sync`` finds one of it: the server takes
    the last of several for the whole. The curve up to here is then to be told again.
    """

    def __init__(self, *, takes_whole_curve: bool, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.takes_whole_curve = takes_whole_curve

    def finalize(self, status: str) -> None:
        """Ends the run."""
        super().finalize(status)
        self.experiment.finish(exit_code=0 if status == "success" else 1)


def wandb_logger(
    name: RunName,
    *,
    project: str,
    mode: Annotated[Mode, _HAS_ACCOUNT],
    output_dir: str,
    config: Mapping[str, Any],
) -> Logger | None:
    """Returns a logger for one run, grouped with those of its split, its files below `output_dir`; None for none.

    Its id is its address: resumed, it goes on online, and is replaced offline. Two learning rates have two addresses.
    """
    found = way_of(mode)
    if found is None:
        return None
    run_id = id_of(name.place)
    if found == "offline":
        remove_offline(Path(output_dir), run_id)
    return _WandbRun(
        takes_whole_curve=found == "offline",
        project=project,
        name=name.place,
        id=run_id,
        resume="allow",
        group=name.place.rpartition("/")[0] if name.seed is not None else name.place,
        job_type=name.job_type,
        save_dir=output_dir,
        mode=found,
        config=dict(config),
    )


def id_of(place: str) -> str:
    """Returns the id of the run at an address, which can be read and is no other address's."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', place)[:80]}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def remove_offline(output_dir: Path, run_id: str) -> None:
    """Removes what was written of a run offline, which another is about to replace."""
    for folder in (output_dir / "wandb").glob(f"offline-run-*-{run_id}"):
        shutil.rmtree(folder)


@dataclass(frozen=True)
class ResultsMirror:
    """Logs a study's results: one run for each trunk, over all its splits, and one for the study.

    Args:
        study: whose results they are.
        fingerprint: of its task.
        project: of Weights & Biases.
        mode: of Weights & Biases; ``disabled`` logs nothing.
        output_dir: below which its files lie.
        config: of the study.
    """

    study: str
    fingerprint: str
    project: str
    mode: Way
    output_dir: Path
    config: Mapping[str, Any]

    def log(self, results: Sequence[Result], examples: Examples, pictures: Sequence[Path]) -> None:
        """Logs curves against the split step and against the step, sets of correct examples, examples, and figures."""
        rows = all_rows(results)
        for trunk in sorted(rows["trunk"].dropna().unique()):
            own = [result for result in results if (result.rows["trunk"] == trunk).fillna(False).all()]
            with self._run(f"trunk-{trunk}", "analysis") as run:
                _log_rows(run, all_rows(own))
                _log_records(run, own)
                _log_examples(run, own, examples)
        with self._run("study", "report") as run:
            _log_rows(run, rows[rows["trunk"].isna()])
            _log_records(run, [result for result in results if result.rows["trunk"].isna().all()])
            run.log({path.stem: wandb.Image(str(path)) for path in pictures if path.suffix == ".png"})

    @contextmanager
    def _run(self, part: str, job_type: str) -> Iterator[wandb.Run]:
        place = f"{self.study}-{self.fingerprint}/{part}"
        run_id = id_of(f"{place}/{job_type}")
        if self.mode == "offline":
            remove_offline(self.output_dir, run_id)
        run = wandb.init(
            project=self.project,
            name=f"{place}/{job_type}",
            id=run_id,
            resume="allow",
            group=place,
            job_type=job_type,
            dir=self.output_dir,
            mode=self.mode,
            config=dict(self.config),
            reinit="finish_previous",
            settings=wandb.Settings(console="off", quiet=True),
        )
        run.define_metric("split_step")
        run.define_metric("mode/*", step_metric="split_step")
        run.define_metric("step")
        run.define_metric("trunk/*", step_metric="step")
        try:
            yield run
        finally:
            run.finish()


def _log_rows(run: wandb.Run, rows: pd.DataFrame) -> None:
    """Logs a point for each split step, and for each step of a trunk, and what has neither (an onset) as the run's summary.

    What has an index or a branch is no curve.
    """
    curves = rows[rows["index"].isna() & rows["branch"].isna()]
    curves = curves.assign(name=curves["quantity"] + ("/" + curves["subset"]).fillna(""))
    for column, kind in (("split_step", "mode"), ("step", "trunk")):
        for place in sorted(curves[column].dropna().unique()):
            own = curves[curves[column] == place]
            run.log({column: int(place), **_values(own, kind)})
    alone = curves[curves["split_step"].isna() & curves["step"].isna()]
    run.summary.update(dict(zip(alone["name"], alone["value"], strict=True)))


def _values(rows: pd.DataFrame, kind: str) -> dict[str, float]:
    """Returns the values of rows by their names, with the ends of their intervals where they have some."""
    found = {}
    for name, value, low, high in rows[["name", "value", "low", "high"]].itertuples(index=False):
        found[f"{kind}/{name}"] = value
        found |= {f"{kind}/{name}/{end}": bound for end, bound in (("low", low), ("high", high)) if bound == bound}
    return found


def _log_records(run: wandb.Run, results: Sequence[Result]) -> None:
    """Logs the packed masks as files."""
    for records in (result.records for result in results if result.records is not None):
        artifact = wandb.Artifact(records.stem, type="correct_masks")
        artifact.add_file(str(records))
        run.log_artifact(artifact)


def _log_examples(run: wandb.Run, results: Sequence[Result], examples: Examples) -> None:
    """Logs a table of training examples with how many endpoints of each mode have them right."""
    masks = {
        int(result.rows["split_step"].iloc[0]): unpack_mask(
            checkpoint.load(result.records).state["train_correct"], len(examples)
        )
        for result in results
        if result.records is not None
    }
    if masks:
        run.log({"examples": _with_pictures(example_table(masks, examples.targets), examples)})


def _with_pictures(table: pd.DataFrame, examples: Examples) -> wandb.Table:
    """Returns the table, with the pictures of the examples if they are pictures (H, W, 3)."""
    logged = wandb.Table(dataframe=table)
    if not isinstance(examples.inputs, torch.Tensor):
        return logged
    shown = [examples.inputs[index] for index in table["example"]]
    if shown[0].dtype == torch.uint8 and shown[0].shape[-1:] == (3,):
        logged.add_column("picture", [wandb.Image(picture.numpy()) for picture in shown])
    return logged
