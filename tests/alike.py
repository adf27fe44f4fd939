"""A task without noise in float64, and what it means that two of its branches are the same."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lmc_lab.runs import checkpoint
from lmc_lab.runs.curve import read_rows
from lmc_lab.runs.run import Run
from lmc_lab.runs.trunk import ensure_split
from tiny import build_module, tiny_experiment

WITHIN = 1e-12  # in float64


def quiet_model():
    """No bias before BatchNorm: its gradient is rounding, which Adam would blow up."""
    return nn.Sequential(nn.Linear(2, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def experiment(path, *, model=quiet_model, module=build_module, **changes):
    """The tiny task in float64 and without dropout."""
    base = tiny_experiment(path)
    task = replace(base.task, build_model=model, build_module=module, precision="64-true", **changes)
    return replace(base, task=task)


def runs_of(own, *, splits=(13, 20), seeds=(0, 1, "trunk")):
    for step in splits:
        ensure_split(own, step)
    return [Run(own, step, seed) for step in splits for seed in seeds]


def weights(folder):
    return checkpoint.load(folder.endpoint).state["model"]


def assert_alike(run, other):
    """Two branches end in the same point by ways of the same length, and have the same files."""
    ours, theirs = weights(run.folder), weights(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=WITHIN)
    ours, theirs = (checkpoint.load(folder.endpoint).state["path_length"] for folder in (run.folder, other))
    assert ours == pytest.approx(theirs, abs=WITHIN)
    for row, expected in zip(read_rows(run.folder.metrics), read_rows(other.metrics), strict=True):
        assert {name: float(value) for name, value in row.items()} == pytest.approx(
            {name: float(value) for name, value in expected.items()}, abs=WITHIN
        )
    names = [{path.name for path in folder.path.iterdir()} for folder in (run.folder, other)]
    assert names[0] == names[1]


class Killed(BaseException):
    pass


def stop_at(monkeypatch, step, error):
    """Ends a program after a step, as a kill does if `error` is no exception that anything answers."""
    from lmc_lab.runs import callbacks

    class Killing(callbacks.Heartbeat):
        def on_train_batch_end(self, trainer, *arguments):
            if trainer.global_step == step:
                raise error

    monkeypatch.setattr("lmc_lab.runs.program.Heartbeat", Killing)
