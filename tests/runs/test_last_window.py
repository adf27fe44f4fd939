"""The row of a loss curve at T, where T is no multiple of `log_every`."""

from dataclasses import replace

import pandas as pd
import pytest
from lightning.pytorch.loggers import CSVLogger

from alike import assert_alike, runs_of
from alike import experiment as quiet_experiment
from lmc_lab.runs import callbacks, checkpoint
from lmc_lab.runs.curve import read_rows, write_rows
from lmc_lab.runs.finished import is_finished
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.status import write_finished
from lmc_lab.runs.together import train_together
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.runs.variation import BranchLength, Variation
from tiny import tiny_experiment, train_branch

SETTINGS = RunSettings(log_every=7, resume_seconds=0.0)  # T = 40


class Killed(BaseException):
    pass


def steps_of(folder):
    return [int(row["step"]) for row in read_rows(folder.metrics)]


@pytest.mark.parametrize(("log_every", "steps"), [(7, [14, 21, 28, 35, 40]), (10, [20, 30, 40]), (50, [40])])
def test_a_curve_ends_at_the_last_step_whatever_its_windows(tmp_path, log_every, steps):
    experiment = tiny_experiment(tmp_path, settings=RunSettings(log_every=log_every))
    ensure_trunk(experiment, {13, 40})
    folder = train_branch(experiment, 13, "trunk")
    assert steps_of(folder) == steps == [step for step in steps_of(experiment.trunk_folder) if step > 13]
    rows = read_rows(folder.metrics)
    assert rows == read_rows(experiment.trunk_folder.metrics)[-len(rows) :]
    assert float(rows[-1]["path_length"]) == checkpoint.load(folder.endpoint).state["path_length"]


def test_a_trunk_that_stops_inside_a_window_has_no_row_there_and_goes_on(tmp_path):
    at_once, by_parts = (tiny_experiment(tmp_path / name, settings=SETTINGS) for name in ("at_once", "by_parts"))
    ensure_trunk(by_parts, {38})
    assert steps_of(by_parts.trunk_folder) == [7, 14, 21, 28, 35]
    ensure_trunk(by_parts, {40})
    ensure_trunk(by_parts, {39})  # once more to there, only to save its state
    ensure_trunk(at_once, {40})
    assert read_rows(by_parts.trunk_folder.metrics) == read_rows(at_once.trunk_folder.metrics)


def test_a_branch_that_was_killed_in_its_last_window_has_the_same_curve(tmp_path, monkeypatch):
    class Heartbeat(callbacks.Heartbeat):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 38:
                raise Killed

    whole = train_branch(tiny_experiment(tmp_path / "whole", settings=SETTINGS), 13, 0)
    experiment = tiny_experiment(tmp_path / "killed", settings=SETTINGS)
    ensure_trunk(experiment, {13})
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("lmc_lab.runs.fit.Heartbeat", Heartbeat)
        train_branch(experiment, 13, 0)
    folder = train_branch(experiment, 13, 0)
    assert read_rows(folder.metrics) == read_rows(whole.metrics)
    assert checkpoint.load(folder.endpoint).digest == checkpoint.load(whole.endpoint).digest


def test_branches_that_leave_a_program_inside_a_window_have_the_curves_of_branches_alone(tmp_path):
    changed = {"variation": Variation(length=BranchLength.AFTER_SPLIT), "settings": SETTINGS}
    together, alone = (replace(quiet_experiment(tmp_path / name), **changed) for name in ("together", "alone"))
    runs = runs_of(together, seeds=(0, 1))
    train_together(runs)
    runs_of(alone)
    for run in runs:
        assert steps_of(run.folder)[-1] == 40 + run.split_step
        assert_alike(run, train_branch(alone, run.split_step, run.seed))


def test_a_curve_of_an_older_version_that_ends_before_is_whole(tmp_path):
    experiment = tiny_experiment(tmp_path, settings=SETTINGS)
    folder = train_branch(experiment, 13, 0)
    write_rows(folder.metrics, read_rows(folder.metrics)[:-1])
    write_finished(folder, step=40)
    written = folder.endpoint.stat().st_mtime_ns
    assert is_finished(folder, ())
    train_branch(experiment, 13, 0)
    assert steps_of(folder) == [14, 21, 28, 35] and folder.endpoint.stat().st_mtime_ns == written


@pytest.mark.parametrize(("evaluate_every", "steps"), [(15, [15, 30, 40]), (20, [20, 40]), (50, [40])])
def test_a_logger_is_told_of_the_test_set_at_the_last_step_once(tmp_path, evaluate_every, steps):
    logger = CSVLogger(tmp_path / "csv")
    settings = replace(SETTINGS, evaluate_every=evaluate_every)
    experiment = tiny_experiment(tmp_path, settings=settings, make_logger=lambda name, config: logger)
    ensure_trunk(experiment, {40})
    told = pd.read_csv(logger.experiment.metrics_file_path)
    assert told.dropna(subset="test_loss")["step"].tolist() == steps
    assert told.dropna(subset="train_loss")["step"].tolist() == steps_of(experiment.trunk_folder)
