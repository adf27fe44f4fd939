import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver

import pytest
from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins.lmc_pool.failed import Outcome, failed_of, failure
from hydra_plugins.lmc_pool.names import job_name
from hydra_plugins.lmc_pool.processes import run_in_processes
from hydra_plugins.lmc_pool.sweep_launcher import all_outcomes
from lmc_lab.errors import UserError
from lmc_lab.process import num_cores


@dataclass
class Question:
    """A job that fails, since what it returns is why it failed."""

    name: str
    ask: Callable[[], str]

    def is_answered(self):
        return False

    def __call__(self):
        return {"": self.ask()}


def run_jobs(jobs, **where):
    return all_outcomes(jobs, partial(run_in_processes, **where))


def all_answers(*asks, num_workers=4):
    jobs = [Question(f"seed={number}", ask) for number, ask in enumerate(asks)]
    return [failed[""] for failed in run_jobs(jobs, num_workers=num_workers)]


def answers(ask, num_jobs=1):
    return set(all_answers(*[ask] * num_jobs))


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
    assert answers(lambda: str(num_cores()), num_jobs) == {share}


def test_each_worker_sees_one_gpu_before_cuda_is_used(monkeypatch, tmp_path):
    def seen():
        import time

        import torch

        name, deadline = os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic() + 30
        (tmp_path / f"{os.getpid()}-{name}").touch()
        while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < deadline:  # all three run at a time
            time.sleep(0.05)
        return f"{name} {torch.cuda.is_initialized()}"

    jobs = [Question(f"seed={number}", seen) for number in range(3)]
    found = [failed[""] for failed in run_jobs(jobs, num_workers=3, gpus=["0", "GPU-1f"])]
    assert sorted(found) == ["0 False", "0 False", "GPU-1f False"]


def test_a_worker_that_sees_all_gpus_was_given_none(monkeypatch):
    assert answers(lambda: os.environ.get("CUDA_VISIBLE_DEVICES", "all")) == {"all"}


def test_a_worker_has_its_imports_done_but_for_lightning(new_server):
    assert answers(lambda: str({"lmc_lab.compose", "lmc_lab.runs.branch"} <= sys.modules.keys())) == {"True"}
    assert answers(lambda: str({"lightning", "pandas", "scipy"} & sys.modules.keys())) == {"set()"}


@dataclass
class Answered(Question):
    """A job that is done where the sweep is."""

    def is_answered(self):
        self.ask()
        return True


def test_jobs_that_have_an_answer_start_no_worker(monkeypatch):
    monkeypatch.setattr("hydra_plugins.lmc_pool.processes._preloaded_processes", lambda: pytest.fail("a worker"))
    asked = []
    jobs = [Answered(f"seed={number}", lambda number=number: asked.append(number)) for number in range(3)]
    assert run_jobs(jobs, num_workers=2) == [{}, {}, {}] and asked == [0, 1, 2]


def test_behind_a_job_without_an_answer_none_is_asked_for_one():
    jobs = [
        Answered("seed=0", str),
        Question("seed=1", lambda: str(os.getpid())),
        Answered("seed=2", lambda: str(os.getpid())),
    ]
    first, *others = run_jobs(jobs, num_workers=1)
    assert first == {} and len({failed[""] for failed in others} - {str(os.getpid())}) == 1


def test_one_worker_runs_several_jobs():
    assert len(set(all_answers(*[lambda: str(os.getpid())] * 5, num_workers=1))) == 1


def test_a_worker_that_dies_costs_the_job_that_it_runs():
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def leave():
        raise SystemExit(3)

    def fail():
        raise ValueError("no")

    asked = [lambda: "0", die, lambda: "2", leave, fail, lambda: "5"]
    found = all_answers(*asked, num_workers=2)
    assert found[::2][:2] == ["0", "2"] and found[5] == "5" and "ValueError: no" in found[4]
    assert "exit code -9" in found[1] and "exit code 3" in found[3]


def test_a_worker_that_is_asked_to_end_says_so():
    def ask():
        os.kill(os.getpid(), signal.SIGTERM)
        return "went on"

    assert all_answers(ask, lambda: "1", num_workers=1) == ["terminated", "1"]


@pytest.mark.parametrize(
    ("overrides", "part", "name"),
    [
        ("a=1 b=2 seed=[4,5,6]", "", "b=2 seed=range(4,7)"),
        ("a=1 b=2 seed=[4,5,7]", "", "b=2 seed=[4,5,7]"),
        ("a=1 b=2 seed=[4,5]", "", "b=2 seed=[4,5]"),
        ("a=1 b=2 seed=[4,5]", "seed=5", "b=2 seed=5"),
        ("a=1 b=2", "pairs", "b=2 pairs"),
        ("a=1", "", "a=1"),
    ],
)
def test_a_job_is_called_by_what_was_not_given_word_for_word(overrides, part, name):
    assert job_name(overrides.split(), ["a=1", "b=1,2", "seed=range(9)"], part) == name


def outcome(overrides, **failed):
    return Outcome(overrides.split(), {key.replace("_", "="): why for key, why in failed.items()})


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ([outcome("k=1 seed=[0,1]", seed_1="no"), outcome("k=2 seed=3")], "1 of 3 branches failed (no): k=1 seed=1; "),
        (
            [outcome("k=1 seed=[0,1]", seed_1="no"), outcome("k=2 seed=3", **{"": "lost"})],
            "2 of 3 branches failed (the first: no): k=1 seed=1; k=2 seed=3; ",
        ),
        (
            [outcome("k=1 seed=[0,1,2]", **{"": "killed"}), outcome("k=2 seed=[0,1,2]")],
            "up to 3 of 6 branches failed (killed): k=1 seed=range(0,3); ",
        ),
        (
            [outcome(f"k=1 seed={seed}", **{"": "no"}) for seed in range(10)],
            f"10 of 10 branches failed (no): {'; '.join(f'k=1 seed={seed}' for seed in range(8))}; … (2 more); ",
        ),
        ([outcome("k=1", pairs="no"), outcome("k=2")], "1 of 2 jobs failed (no): k=1 pairs; "),
        ([outcome("k=1", pairs="no", star="no")], "1 of 1 jobs failed (no): k=1 pairs; k=1 star; "),
        ([outcome("k=1 seed=null", **{"": "no"})], "1 of 1 jobs failed (no): k=1 seed=null; "),
    ],
)
def test_a_sweep_counts_the_branches_that_failed_and_names_them(outcomes, said):
    assert str(failure(outcomes, given=["k=1,2"])).startswith(said)


def test_why_a_job_failed_is_where_hydra_keeps_it():
    """In a private field, which Hydra sets through the public one."""
    failed = JobReturn(status=JobStatus.FAILED)
    failed.return_value = UserError("expected a, found b; change it")
    assert failed_of(failed) == {"": "expected a, found b; change it"}
    completed = JobReturn(status=JobStatus.COMPLETED)
    completed.return_value = "anything"
    assert failed_of(completed) == {}


def test_ctrl_c_is_the_sweeps_to_answer_and_not_its_workers():
    """In a fresh process, where the resource tracker is not running either, whose start unblocks the signal."""
    script = """
import os, signal
from hydra_plugins.lmc_pool.processes import run_in_processes

def is_blocked(pid):
    (line,) = [line for line in open(f"/proc/{pid}/status") if line.startswith("SigBlk")]
    return bool(int(line.split()[1], 16) >> (signal.SIGINT - 1) & 1)

class Job:
    name = "job"
    def is_answered(self):
        return False
    def __call__(self):
        return {"worker": is_blocked(os.getpid()), "server": is_blocked(os.getppid())}

((place, found),) = run_in_processes([Job()], [0], num_workers=1)
print([found], is_blocked(os.getpid()))
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[{'worker': True, 'server': True}] False", told.stderr
