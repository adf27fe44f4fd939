"""Weights & Biases, a mirror of what is on disk; the only file that imports it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

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

Mode = Literal["online", "offline", "disabled"]


@final
class _WandbRun(WandbLogger):
    """A logger whose run ends with its trunk or branch: the next run of this process would go on in it otherwise."""

    def finalize(self, status: str) -> None:
        """Ends the run."""
        super().finalize(status)
        self.experiment.finish(exit_code=0 if status == "success" else 1)


def wandb_logger(name: RunName, *, project: str, mode: Mode, output_dir: str, config: Mapping[str, Any]) -> Logger:
    """Returns a logger for one run: grouped by mode, its job type trunk or branch, its files below `output_dir`."""
    group = str(name).rpartition("/")[0] if name.seed is not None else str(name)
    return _WandbRun(
        project=project,
        name=str(name),
        group=group,
        job_type=name.job_type,
        save_dir=output_dir,
        mode=mode,
        config=dict(config),
    )


@dataclass(frozen=True)
class ResultsMirror:
    """Logs a study's results: one run for each trunk, over all its splits, and one for the study.

    Args:
        study: whose results they are.
        project: of Weights & Biases.
        mode: of Weights & Biases; ``disabled`` logs nothing.
        output_dir: below which its files lie.
        config: of the study.
    """

    study: str
    project: str
    mode: Mode
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
        run = wandb.init(
            project=self.project,
            name=f"{self.study}/{part}/{job_type}",
            group=f"{self.study}/{part}",
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
            values = {f"{kind}/{name}": value for name, value in zip(own["name"], own["value"], strict=True)}
            run.log({column: int(place), **values})
    alone = curves[curves["split_step"].isna() & curves["step"].isna()]
    run.summary.update(dict(zip(alone["name"], alone["value"], strict=True)))


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
