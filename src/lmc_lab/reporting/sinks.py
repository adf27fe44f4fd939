"""Weights & Biases, a mirror of what is on disk."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final, get_args

import pandas as pd
import torch
import wandb
from lightning.pytorch.loggers import Logger, WandbLogger

from lmc_lab.data.examples import Examples
from lmc_lab.landscape.predictions import unpack_mask
from lmc_lab.reporting.examples import example_table
from lmc_lab.reporting.logged import LoggedRows
from lmc_lab.reporting.wandb_account import Mode, Way, id_of, remove_offline, way_of
from lmc_lab.results.folder import Result, all_rows
from lmc_lab.runs import checkpoint
from lmc_lab.runs.experiment import RunName
from lmc_lab.values import Condition

_CAN_BE = Condition("", lambda mode: way_of(mode) in (None, *get_args(Way)))  # says itself what is wrong


@final
class _WandbRun(WandbLogger):
    """A logger of one trunk or branch, which logs each step once, however often it is trained.

    Offline, it replaces what was written of the run before, and logs all of it again: the server would take the last of
    several files for the whole.

    Args:
        logged: the rows that were logged of the run before; None for a run that writes nothing.
        is_new: whether that is to be logged again.
        arguments: of Lightning's logger.
    """

    def __init__(self, *, logged: LoggedRows | None, is_new: bool, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._logged = logged
        if is_new and logged is not None:
            for step, metrics in logged.rows:
                super().log_metrics(metrics, step)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs metrics at a step, unless they were."""
        if self._logged is None or self._logged.add(metrics, step):
            super().log_metrics(metrics, step)

    def finalize(self, status: str) -> None:
        """Ends the run: the next of this process would go on in it otherwise."""
        super().finalize(status)
        self.experiment.finish(exit_code=0 if status == "success" else 1)


def wandb_logger(
    name: RunName,
    *,
    project: str,
    mode: Annotated[Mode, _CAN_BE],
    output_dir: str,
    config: Mapping[str, Any],
) -> Logger | None:
    """Returns a logger for one run, grouped with those of its split, its files below `output_dir`; None for none.

    Its id is its address: resumed, it goes on online, and is replaced offline. Two learning rates have two addresses.
    """
    way = way_of(mode)
    if way is None:
        return None
    run_id = id_of(name.address)
    if way == "offline":
        remove_offline(Path(output_dir), run_id)
    return _WandbRun(
        logged=_logged_of(Path(output_dir), run_id) if way != "disabled" else None,
        is_new=way == "offline",
        project=project,
        name=name.address,
        id=run_id,
        resume="allow",
        group=name.address.rpartition("/")[0] if name.seed is not None else name.address,
        job_type=name.job_type,
        save_dir=output_dir,
        mode=way,
        config=dict(config),
    )


def _logged_of(output_dir: Path, run_id: str, *, by_value: bool = False) -> LoggedRows:
    return LoggedRows(output_dir / "wandb" / f"told-{run_id}.jsonl", by_value=by_value)


@dataclass(frozen=True)
class ResultsMirror:
    """Logs a study's results: one run for each trunk, over all its splits, and one for the study.

    Args:
        study: whose results they are.
        key: of its task and what it asks for, which distinguishes it from others of its name.
        project: of Weights & Biases.
        mode: of Weights & Biases; ``disabled`` logs nothing.
        output_dir: below which its files lie.
        config: of the study.
    """

    study: str
    key: str
    project: str
    mode: Way
    output_dir: Path
    config: Mapping[str, Any]

    def log(self, results: Sequence[Result], examples: Examples, pictures: Sequence[Path]) -> None:
        """Logs curves against the split step and against the step, sets of correct examples, examples, and figures."""
        rows = all_rows(results)
        for trunk in sorted(rows["trunk"].dropna().unique()):
            of_trunk = [result for result in results if (result.rows["trunk"] == trunk).fillna(False).all()]
            with self._run(f"trunk-{trunk}", "analysis") as (run, logged):
                _log_rows(run, all_rows(of_trunk), logged)
                _log_records(run, of_trunk)
                _log_examples(run, of_trunk, examples)
        with self._run("study", "report") as (run, logged):
            _log_rows(run, rows[rows["trunk"].isna()], logged)
            _log_records(run, [result for result in results if result.rows["trunk"].isna().all()])
            run.log({path.stem: wandb.Image(str(path)) for path in pictures if path.suffix == ".png"})

    @contextmanager
    def _run(self, part: str, job_type: str) -> Iterator[tuple[wandb.Run, LoggedRows | None]]:
        """Yields a run, and what was logged of it before: online it goes on, offline it is written anew."""
        group = f"{self.study}-{self.key}/{part}"
        run_id = id_of(f"{group}/{job_type}")
        if self.mode == "offline":
            remove_offline(self.output_dir, run_id)
        run = wandb.init(
            project=self.project,
            name=f"{group}/{job_type}",
            id=run_id,
            resume="allow",
            group=group,
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
            yield run, _logged_of(self.output_dir, run_id, by_value=True) if self.mode == "online" else None
        finally:
            run.finish()


def _log_rows(run: wandb.Run, rows: pd.DataFrame, logged: LoggedRows | None = None) -> None:
    """Logs a point for each split step, and for each step of a trunk, and what has neither (an onset) as the run's summary.

    What has an index or a branch is no curve.
    """
    curves = rows[rows["index"].isna() & rows["branch"].isna()]
    curves = curves.assign(name=curves["quantity"] + ("/" + curves["subset"]).fillna(""))
    for column, kind in (("split_step", "mode"), ("step", "trunk")):
        for step in sorted(curves[column].dropna().unique()):
            at_step = curves[curves[column] == step]
            point = {column: int(step), **_values(at_step, kind)}
            if logged is None or logged.add(point, int(step)):
                run.log(point)
    alone = curves[curves["split_step"].isna() & curves["step"].isna()]
    run.summary.update(_values(alone, "study"))


def _values(rows: pd.DataFrame, kind: str) -> dict[str, float]:
    """Returns the values of rows by their names, with the ends of their intervals where they have some."""
    values: dict[str, float] = {}
    for name, value, low, high in rows[["name", "value", "low", "high"]].itertuples(index=False):
        values[f"{kind}/{name}"] = value
        for end, bound in (("low", low), ("high", high)):
            values.pop(f"{kind}/{name}/{end}", None)  # of an earlier row of the same name
            if bound == bound:
                values[f"{kind}/{name}/{end}"] = bound
    return values


def _log_records(run: wandb.Run, results: Sequence[Result]) -> None:
    """Logs the packed masks as files."""
    for records in (result.records for result in results if result.records is not None):
        artifact = wandb.Artifact(records.stem, type="correct_masks")
        artifact.add_file(str(records))
        run.log_artifact(artifact)


def _log_examples(run: wandb.Run, results: Sequence[Result], examples: Examples) -> None:
    """Logs a table of training examples with how many endpoints of each mode have them right."""
    states = {
        int(result.rows["split_step"].iloc[0]): checkpoint.load(result.records).state
        for result in results
        if result.entry.analysis == "predictions" and result.records is not None
    }
    if not states:
        return
    index = next(iter(states.values())).get("train_index", torch.arange(len(examples)))  # a study's are all of the same
    masks = {step: unpack_mask(state["train_correct"], len(index)) for step, state in states.items()}
    table = example_table(masks, examples.targets[index])
    table["example"] = index[table["example"].tolist()].numpy()
    run.log({"examples": _with_pictures(table, examples)})


def _with_pictures(table: pd.DataFrame, examples: Examples) -> wandb.Table:
    """Returns the table, with the pictures of the examples if they are pictures (H, W, 3)."""
    logged = wandb.Table(dataframe=table)
    if not isinstance(examples.inputs, torch.Tensor):
        return logged
    shown = [examples.inputs[index] for index in table["example"]]
    if shown[0].dtype == torch.uint8 and shown[0].shape[-1:] == (3,):
        logged.add_column("picture", [wandb.Image(picture.numpy()) for picture in shown])
    return logged
