import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver

import pytest

from hydra_plugins.lmc_pool.processes import preloaded_processes, run_jobs


@dataclass
class Question:
    """A job that fails, since what it returns is why it failed."""

    index: int
    overrides: list[str]
    ask: Callable[[], str]

    def __call__(self) -> str:
        return self.ask()


def answers(ask, num_jobs=1):
    jobs = [Question(number, [f"seed={number}", "task=lenet"], ask) for number in range(num_jobs)]
    return set(run_jobs(jobs, num_workers=4, context=preloaded_processes("train")).values())


@pytest.fixture(autouse=True)
def pickled_by_value():
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def new_server():
    """A server has the imports of whoever started it; the test has one of its own."""
    forkserver._forkserver._stop()
    yield
    forkserver._forkserver._stop()


@pytest.mark.parametrize(
    ("num_jobs", "given", "share"), [(1, None, "6"), (2, None, "3"), (9, None, "1"), (1, "4", "4"), (2, "4", "2")]
)
def test_a_job_has_its_share_of_the_cores(monkeypatch, num_jobs, given, share):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert answers(lambda: os.environ["OMP_NUM_THREADS"], num_jobs) == {share}


@pytest.mark.parametrize("entry_point", ["train", "analyze"])
def test_every_entry_point_that_sweeps_has_its_imports(entry_point):
    assert importlib.import_module(f"lmc_lab.preload.{entry_point}")


@pytest.mark.parametrize("config_name", ["mine", "exp.v2", "train.v2"])
def test_a_config_of_ones_own_has_the_imports_of_all(monkeypatch, config_name):
    monkeypatch.setattr(forkserver, "ensure_running", lambda: None)
    preloaded_processes(config_name)
    assert forkserver._forkserver._preload_modules == ["lmc_lab.preload.task"]


def test_a_job_finds_its_imports_done(new_server):
    assert answers(lambda: str({"lmc_lab.preload.train", "lmc_lab.runs.trunk"} <= sys.modules.keys())) == {"True"}
