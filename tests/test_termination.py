"""SIGTERM, as a scheduler sends it: a state is saved, one sentence is said, the exit code is 143."""

import os
import signal
import subprocess
import sys

import pytest

from lmc_lab.files import peek_json
from lmc_lab.runs import checkpoint
from shell import running_pids, shell, start, succeed, wait_for

# Long enough to be ended on the way, short enough to be finished after.
LONG = "task.max_steps=1200 task.data.num_train=400 run.resume_seconds=1000"


@pytest.fixture
def places(tmp_path, shared_cache):
    return f"output_dir={tmp_path} cache_dir={shared_cache}"


def terminated(command, root, *, to_all=False):
    """Returns what a command prints to stderr when SIGTERM comes while a branch trains."""
    with start(command) as process:
        wait_for(lambda: [path for path in root.rglob("branch-*/metrics.csv") if len(path.read_text()) > 100])
        if to_all:
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    return errors.splitlines()


def resumable(root):
    return [checkpoint.load(path).state["global_step"] for path in root.rglob("branch-*/resume.safetensors")]


def test_a_branch_saves_its_state_and_goes_on_to_the_same_bits(tmp_path, places, shared_cache):
    command = f"python -m lmc_lab.train {LONG} split_step=3 seed=0"
    (line,) = terminated(f"{command} {places}", tmp_path)
    assert line.startswith("lmc_lab: terminated; go on with: python -m lmc_lab.train task.max_steps=1200")
    (step,) = resumable(tmp_path)
    (status,) = tmp_path.rglob("branch-0/status.json")
    assert 3 < step < 1200 and peek_json(status)["state"] == "stopped"
    succeed(f"{command} {places}")
    succeed(f"{command} output_dir={tmp_path}/whole cache_dir={shared_cache}")
    digests = {checkpoint.load(path).digest for path in tmp_path.rglob("endpoint.safetensors")}
    assert len(digests) == 1 and not resumable(tmp_path)


@pytest.mark.parametrize("to_all", [False, True], ids=["to the command", "to all its processes"])
def test_all_branches_of_a_sweep_save_their_states(tmp_path, places, to_all):
    command = f"python -m lmc_lab.train {LONG} {places} split_step=3 -m 'seed=range(2)' hydra.launcher.n_jobs=2"
    lines = terminated(command, tmp_path, to_all=to_all)
    assert lines[-1].startswith("lmc_lab: terminated; go on with:") and not [line for line in lines if "Trace" in line]
    assert resumable(tmp_path) and not running_pids(tmp_path)


def test_a_job_ends_at_the_branch_that_runs_and_names_the_others(tmp_path, places):
    command = f"python -m lmc_lab.train {LONG} {places} split_step=3 'seed=[0,1,2]'"
    with start(command) as process:
        wait_for(lambda: [path for path in tmp_path.rglob("branch-0/metrics.csv") if len(path.read_text()) > 100])
        process.terminate()
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and errors.startswith("lmc_lab: terminated; go on with:")
    assert "not done: trunk_seed=0 split_step=3 seed=[0,1,2]" in printed
    assert len(resumable(tmp_path)) == 1 and not list(tmp_path.rglob("branch-1"))


def test_a_study_passes_it_on(tmp_path, places):
    study = "study.trunks=[0] study.splits=[0] study.branches=2 study.analyses={distances:{num_samples:5}}"
    overrides = "'overrides=[\"task.max_steps=1200\"]'"
    lines = terminated(f"python -m lmc_lab.study {study} {overrides} {places}", tmp_path)
    assert lines[-1].startswith("lmc_lab: terminated; go on with: python -m lmc_lab.study")
    assert resumable(tmp_path) and not running_pids(tmp_path)


def test_what_does_not_train_ends_at_once(tmp_path):
    result = shell(f"timeout -s TERM 1 python -m lmc_lab.train {LONG} output_dir={tmp_path} cache_dir={tmp_path}/new")
    assert result.returncode in (124, 143) and "Traceback" not in result.stderr


# Ends this process in the middle of NumPy's import by torch, which clears the exit and imports NumPy again.
LOST = """
import os, signal, sys
from lmc_lab import termination
from lmc_lab.process import heavy_imports

class Terminated:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGTERM)

termination.handle_sigterm()
sys.meta_path.insert(0, Terminated())
with heavy_imports():
    import torch
    print("lost")
print("went on")
"""


@pytest.mark.parametrize(
    ("module", "printed"), [("numpy.lib", "lost\n"), ("numpy.exceptions", "")], ids=["goes on", "fails"]
)
def test_an_exit_that_torch_clears_while_it_is_imported_comes_after_its_import(module, printed):
    result = subprocess.run([sys.executable, "-c", LOST, module], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (143, printed, "")
