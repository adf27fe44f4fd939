import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.profilers import PassThroughProfiler

from lmc_lab.runs.profiler import NoProfiler, without_profiler
from lmc_lab.runs.trunk import ensure_trunk
from tiny import tiny_experiment

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}


def test_the_default_profiler_is_replaced_and_a_chosen_one_stays():
    assert isinstance(without_profiler(Trainer(**QUIET)).profiler, NoProfiler)
    chosen = without_profiler(Trainer(profiler="simple", **QUIET)).profiler
    assert type(chosen).__name__ == "SimpleProfiler"


def test_contexts_nest_and_let_errors_through():
    profiler = NoProfiler()
    with pytest.raises(ZeroDivisionError), profiler.profile("a"), profiler.profile("b"):
        raise ZeroDivisionError


def test_lightning_asks_it_for_each_context_of_a_step(monkeypatch, tmp_path):
    asked, measured = [], []
    profile = NoProfiler.profile
    monkeypatch.setattr(NoProfiler, "profile", lambda self, name: asked.append(name) or profile(self, name))
    monkeypatch.setattr(PassThroughProfiler, "start", lambda self, name: measured.append(name))
    monkeypatch.setattr(PassThroughProfiler, "stop", lambda self, name: measured.append(name))
    ensure_trunk(tiny_experiment(tmp_path, max_steps=5), {5})
    assert asked.count("run_training_batch") == 5 and len(asked) > 5 * 10
    assert set(measured) <= {"[_TrainingEpochLoop].train_dataloader_next"}  # which begins and ends without a context
