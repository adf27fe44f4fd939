"""The commands a user types, through the shell."""

import json
import os
import signal
import subprocess
from textwrap import dedent

import numpy as np
import pytest
import yaml
from PIL import Image

from conftest import REPOSITORY
from lmc_lab.runs import checkpoint
from shell import environment, is_alive, kill, running_pids, shell, start, succeed, wait_for

TINY = "task.max_steps=40 task.data.num_train=400"


@pytest.fixture
def places(tmp_path, shared_cache):
    return f"output_dir={tmp_path} cache_dir={shared_cache}"


def endpoints(folder):
    """Returns the digest of each endpoint below `folder`, by its address within the task."""
    paths = sorted(folder.glob("*-*/trunk-*/split-*/branch-*/endpoint.safetensors"))
    return {"/".join(path.parts[-4:-1]): checkpoint.load(path).digest for path in paths}


def finished(folder):
    return [
        path for path in folder.rglob("branch-*/status.json") if json.loads(path.read_text())["state"] == "finished"
    ]


def test_the_command_of_the_user_with_overrides_on_both_sides_of_the_flag(tmp_path, shared_cache, real_data):
    command = "python -m lmc_lab.train task=lenet split_step=2000 -m 'seed=range(20)'"
    small = f"task.max_steps=2002 task.data.num_train=256 task.batch_size=8 data_dir={real_data}"
    succeed(f"{command} {small} output_dir={tmp_path} cache_dir={shared_cache}")
    found = endpoints(tmp_path)
    assert list(found) == sorted(f"trunk-0/split-2000/branch-{seed}" for seed in range(20))
    assert len(set(found.values())) == 20


def test_a_run_says_where_it_is_and_nothing_else(tmp_path, places):
    run = f"python -m lmc_lab.train {TINY} {places} run.evaluate_every=10"
    for swept, told in (("seed=0", 1), ("-m 'seed=range(1,3)' hydra.launcher.n_jobs=1", 4)):
        result = shell(f"{run} split_step=20 {swept}", PYTHONWARNINGS="default")
        assert result.returncode == 0 and result.stderr == "" and len(result.stdout.splitlines()) == told
    assert result.stdout.startswith("running 1 of 1 jobs, 1 at a time: seed=[1,2]\n")


def test_branches_spawned_at_the_split_equal_those_of_the_sweep(tmp_path, shared_cache):
    cache = f"cache_dir={shared_cache}"
    succeed(f"python -m lmc_lab.train {TINY} split_step=20 -m 'seed=range(3)' output_dir={tmp_path}/swept {cache}")
    printed = succeed(f"python -m lmc_lab.train {TINY} split_step=20 branches=3 output_dir={tmp_path}/spawned {cache}")
    one_by_one = f"hydra/launcher=basic output_dir={tmp_path}/basic {cache}"
    succeed(f"python -m lmc_lab.train {TINY} split_step=20 -m seed=2,0,1 {one_by_one}")
    assert endpoints(tmp_path / "swept") == endpoints(tmp_path / "spawned") == endpoints(tmp_path / "basic")
    assert "split_step=20 'seed=range(3)' -m" in printed
    # Trained to the split and no further.
    assert not list(tmp_path.glob("spawned/*/trunk-0/step-40.safetensors"))


def test_splits_trunks_and_seeds_sweep_together(tmp_path, places):
    succeed(f"python -m lmc_lab.train {TINY} {places} -m split_step=0,10,2ep trunk_seed=0,1 'seed=range(2)'")
    assert set(endpoints(tmp_path)) == {
        f"trunk-{trunk}/split-{step}/branch-{seed}" for trunk in (0, 1) for step in (0, 10, 8) for seed in (0, 1)
    }


def test_the_trunk_alone_goes_to_its_end_and_writes_the_splits(tmp_path, places):
    succeed(f"python -m lmc_lab.train {TINY} {places} 'split_step=[0,15]'")
    (trunk,) = tmp_path.glob("*/trunk-0")
    assert {path.name for path in trunk.glob("step-*")} == {f"step-{step}.safetensors" for step in (0, 15, 40)}
    assert {path.parent.name for path in trunk.glob("split-*/split.json")} == {"split-0", "split-15"}


def test_analyze_writes_rows_for_one_mode_and_does_not_repeat_itself(tmp_path, places):
    import pandas as pd

    succeed(f"python -m lmc_lab.train {TINY} {places} split_step=20 -m 'seed=range(3)'")
    command = f"python -m lmc_lab.analyze {TINY} {places} split_step=20"

    def written(command):  # beside it, how points were evaluated
        return [line for line in succeed(command).splitlines() if line.endswith(".parquet")]

    first = written(command)
    modified = [(tmp_path / path).stat().st_mtime_ns for path in first]
    assert written(command) == first
    assert [(tmp_path / path).stat().st_mtime_ns for path in first] == modified
    rows = pd.concat(pd.read_parquet(path) for path in first)
    assert {"p_conv", "p_rand", "jensen_gap", "centre_loss", "hull_radius", "path_length"} <= set(rows["quantity"])
    assert set(rows["subset"].dropna()) == {"train", "test"} and set(rows["num_endpoints"]) == {3}
    more = written(f"{command} analysis.convex_mode.num_samples=7")
    assert more[0] not in first and more[1] == first[1]


@pytest.mark.parametrize(
    "command", ["lmc-train --help", "lmc-study --cfg job --resolve", "lmc-train --cfg job --resolve"]
)
def test_answers_about_the_config_come_without_torch(command):
    result = shell(command, PYTHONPROFILEIMPORTTIME="1")
    assert result.returncode == 0 and "mnist1d" in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "hydra" in imported and not imported & {"torch", "lightning", "wandb", "pandas", "numpy"}


@pytest.mark.parametrize("command", ["lmc-train --help", "lmc-study --cfg job"])
def test_what_is_read_no_further_ends_quietly(command):
    read, write = os.pipe()
    os.close(read)  # before anything is printed, where `| head` leaves after a part
    result = subprocess.run(command.split(), stdout=write, stderr=subprocess.PIPE, text=True, env=environment())
    os.close(write)
    assert result.returncode == 0 and result.stderr == ""


@pytest.mark.parametrize("program", ["lmc-train", "lmc-analyze"])
def test_tab_completion_offers_the_tasks(program):
    typed = f'COMP_LINE="{program} task=le" COMP_POINT=99'
    script = f'eval "$({program} -sc install=bash)"; {typed} {program} -sc query=bash'
    assert "task=lenet" in succeed(script).split()


OWN_MODEL = """
import torch


class Model(torch.nn.Linear):
    def __init__(self):
        super().__init__(40, 10)

    def forward(self, x):
        raise ValueError("expected 2D input")
"""


def test_an_error_of_the_users_own_keeps_its_place_in_a_sweep(tmp_path, places):
    (tmp_path / "own_model.py").write_text(OWN_MODEL)
    model = "task.model._target_=own_model.Model"
    sweep = "split_step=3 -m 'seed=range(2)' hydra.launcher.n_jobs=2"
    result = shell(f"python -m lmc_lab.train {TINY} {places} {model} {sweep}", cwd=tmp_path)
    assert result.returncode == 1 and "own_model.py" in result.stdout and "Traceback" in result.stdout
    (line,) = result.stderr.strip().splitlines()
    assert "2 of 2 branches failed (ValueError: expected 2D input): seed=0; seed=1" in line


OWN_PACKAGE = """
import torch
from torch import nn
import lmc_lab.tasks.supervised
from lmc_lab.data.examples import Dataset, Examples


class MyModel(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, 2))

    def forward(self, x):
        return self.net(x)


def prepare(x):
    return x


def load(*, data_dir, cache_dir):
    x = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    return Dataset(train=Examples(x, (x[:, 0] > 0).long(), prepare), test=None, digest="mine-v1")


class MyTask(lmc_lab.tasks.supervised.SupervisedTask):
    def per_example_loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    def is_correct(self, outputs, targets):
        return outputs.argmax(1) == targets
"""


OWN_TASK = """
defaults: [{optimizer: sgd}, _self_]
name: mine
model: {_target_: my_package.MyModel, width: 8}
data: {_target_: my_package.load, _partial_: true}
module: {_target_: my_package.MyTask, _partial_: true}
optimizer: {lr: 0.05}
batch_size: 32
max_steps: 30
precision: 32-true
"""


def test_a_class_and_data_of_ones_own_as_the_documentation_describes_them(tmp_path):
    readme, page = (REPOSITORY / "README.md").read_text(), (REPOSITORY / "docs" / "own_task.md").read_text()
    for line in (
        "module: {_target_: my_package.MyTask, _partial_: true}",
        "data: {_target_: my_package.load, _partial_: true}",
    ):
        assert line in page and line in OWN_TASK
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text(OWN_TASK)
    (tmp_path / "my_package.py").write_text(OWN_PACKAGE)
    for command in own_task_commands(readme):
        succeed(command.replace("split_step=500", "split_step=10"), cwd=tmp_path)


def own_task_commands(readme):
    commands = [line.strip() for line in readme.splitlines() if "--config-dir . task=mine" in line]
    assert len(commands) == 2
    return commands


def test_a_task_of_ones_own_by_yaml_alone_as_the_readme_describes_it(tmp_path):
    readme = (REPOSITORY / "README.md").read_text()
    yaml = readme.split("no code where the data are in files:")[1].split("python -m")[0]
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text(dedent(yaml))
    generator = np.random.default_rng(0)
    for name in range(5):
        (tmp_path / "data" / "flowers" / str(name)).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 50, (70, 80, 3)) + 40 * name
            Image.fromarray(pixels.astype("uint8")).save(tmp_path / "data" / "flowers" / str(name) / f"{number}.jpg")
    small = "task.max_steps=3 split_step=1 task.batch_size=8 data_dir=data"  # an 18-layer net is slow on a core
    train, analyze = own_task_commands(readme)
    succeed(train.replace("split_step=500", small).replace("range(8)", "range(2)"), cwd=tmp_path)
    lines = succeed(
        f"{analyze.replace('split_step=500', small)} 'analysis=[distances,convex_mode]' analysis.convex_mode.num_samples=2",
        cwd=tmp_path,
    )
    assert "convex_mode" in lines


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("train split_step=soon seed=0", "expected a split step like 2000, 400it or 2ep"),
        ("train seed=1", "expected a split_step for a branch"),
        ("train split_step=3 seed=1 branches=4", "found both"),
        ("train split_step=3 branches=many", "expected branches to be a whole number >= 2"),
        ("train trainer=gpu", "try trainer=cpu"),
        ("train task.data.num_train=20", "expected at least one batch of 100 training examples, found 20"),
        ("train task=lenet data_dir=nowhere cache_dir=nowhere", "expected CIFAR-10 under"),
        (
            "train output_dir=/proc/nowhere",
            "'No such file or directory'; look at what is there, or choose another place (output_dir",
        ),
        (
            "train output_dir=/dev/null/x",
            "'Not a directory'; look at what is there, or choose another place (output_dir",
        ),
        (
            "train task.optimizer.lr=-1",
            "to be what torch.optim.SGD takes, found that it answers: Invalid learning rate",
        ),
        (
            "train -m seed=0,1 split_step=3 hydra.launcher.n_jobs=0",
            "expected hydra.launcher.n_jobs to be a whole number",
        ),
        (
            "train -m seed=0,1 split_step=3 hydra.sweeper.num_workers=0",
            "expected hydra.sweeper.num_workers to be a whole number",
        ),
        ("train --config-dir nowhere", "or give the command in the folder that it is relative to"),
        ("analyze split_step=20", "expected at least 2 finished branches"),
        ("analyze", "split_step"),
        ("report", "expected measurements of the study 'mnist1d'"),
    ],
)
def test_bad_input_is_one_sentence(command, expected, tmp_path, shared_cache):
    entry_point, *overrides = command.split()
    task = [] if entry_point in ("study", "report") or "task=" in command else TINY.split()
    given = {item.split("=")[0] for item in overrides}
    defaults = [f"output_dir={tmp_path}", f"cache_dir={shared_cache}", *task]
    kept = [item for item in defaults if item.split("=")[0] not in given]
    result = shell(
        " ".join(["python -m", f"lmc_lab.{entry_point}", *overrides, *kept]),
        cwd=tmp_path,
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("lmc_lab: expected") and expected in lines[-1]
    assert "Traceback" not in result.stderr + result.stdout and len(lines) == 1


def test_no_disk_space_is_one_sentence(tmp_path, shared_cache):
    limited = f"ulimit -f 8; python -m lmc_lab.train {TINY} output_dir={tmp_path} cache_dir={shared_cache}"
    result = shell(limited)
    assert result.returncode == 1 and result.stderr.startswith("lmc_lab: expected room on the disk")
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_damaged_checkpoint_is_named_set_aside_and_made_again(tmp_path, places):
    command = f"python -m lmc_lab.train {TINY} {places} split_step=20 -m 'seed=range(3)'"
    succeed(command)
    before = endpoints(tmp_path)
    (damaged,) = tmp_path.glob("*/trunk-0/split-20/branch-1/endpoint.safetensors")
    damaged.write_bytes(b"damaged")
    analyze = f"python -m lmc_lab.analyze {TINY} {places} split_step=20 'analysis=[distances]'"
    refused = shell(analyze)
    assert refused.returncode == 1 and refused.stderr.startswith(f"lmc_lab: expected a whole checkpoint at {damaged}")
    printed = succeed(command)
    assert str(damaged) in printed and "it is now endpoint.safetensors.corrupt" in printed
    assert endpoints(tmp_path) == before and len(finished(tmp_path)) == 3
    succeed(analyze)


LONG = "task.max_steps=20000 task.data.num_train=400"


def test_a_killed_job_costs_only_itself(tmp_path, places):
    few_steps = "task.max_steps=1500 task.data.num_train=400"
    with start(
        f"python -m lmc_lab.train {few_steps} {places} split_step=3 -m 'seed=range(3)' hydra.launcher.n_jobs=2"
    ) as sweep:
        status = wait_for(lambda: next(iter(tmp_path.glob("*/trunk-0/split-3/branch-1/status.json")), None))
        kill(json.loads(status.read_text())["pid"])
        _, errors = sweep.communicate(timeout=200)
    assert sweep.returncode == 1 and "1 of 3 branches failed" in errors.splitlines()[-1] and "seed=1" in errors
    assert {path.parent.name for path in finished(tmp_path)} == {"branch-0", "branch-2"}


def test_a_killed_worker_costs_only_its_unfinished_branches(tmp_path, places):
    few_steps = "task.max_steps=1500 task.data.num_train=400"
    command = f"python -m lmc_lab.train {few_steps} {places} split_step=3 -m 'seed=range(3)' hydra.launcher.n_jobs=1"
    with start(command) as sweep:
        status = wait_for(lambda: next(iter(tmp_path.glob("*/trunk-0/split-3/branch-1/status.json")), None))
        kill(json.loads(status.read_text())["pid"])
        _, errors = sweep.communicate(timeout=200)
    assert sweep.returncode == 1 and "up to 3 of 3 branches failed (its process ended with exit code -9" in errors
    assert "seed=range(0,3)" in errors and {path.parent.name for path in finished(tmp_path)} == {"branch-0"}


def in_the_way(tmp_path, places, seed):
    """Puts a file where the branch with this seed would have its folder."""
    succeed(f"python -m lmc_lab.train {TINY} {places} split_step=20 seed=9")
    (split,) = tmp_path.glob("*/trunk-0/split-20")
    (split / f"branch-{seed}").touch()


def test_one_job_trains_several_branches_as_a_sweep_does(tmp_path, shared_cache):
    cache = f"cache_dir={shared_cache}"
    succeed(f"python -m lmc_lab.train {TINY} split_step=20 -m seed=0,2,trunk output_dir={tmp_path}/swept {cache}")
    succeed(f"python -m lmc_lab.train {TINY} split_step=20 'seed=[trunk,0,2]' output_dir={tmp_path}/listed {cache}")
    assert len(endpoints(tmp_path / "swept")) == 3 and endpoints(tmp_path / "swept") == endpoints(tmp_path / "listed")
    configs = sorted(tmp_path.glob("listed/*/trunk-0/split-20/branch-*/config.yaml"))
    assert [yaml.safe_load(path.read_text())["seed"] for path in configs] == [0, 2, "trunk"]


def test_a_branch_that_fails_costs_only_itself_and_is_named(tmp_path, places):
    in_the_way(tmp_path, places, 1)
    result = shell(f"python -m lmc_lab.train {TINY} {places} split_step=20 'seed=[0,1,2]'")
    assert result.returncode == 1 and "expected every branch to succeed, found that seed=1 failed: " in result.stderr
    assert {path.parent.name for path in finished(tmp_path)} == {"branch-0", "branch-2", "branch-9"}


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param("hydra.launcher.n_jobs=1", marks=pytest.mark.long),
        "hydra.launcher.n_jobs=2",
        "hydra/launcher=basic",
    ],
)
def test_a_sweep_names_the_branch_of_a_job_that_failed(tmp_path, places, launcher):
    in_the_way(tmp_path, places, 1)
    result = shell(f"python -m lmc_lab.train {TINY} {places} -m split_step=10,20 'seed=range(4)' {launcher}")
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1 and "seed=0" not in last
    assert "File exists" in last or "Not a directory" in last  # the latter of a job with this branch alone
    assert "1 of 8 branches failed" in last and ": split_step=20 seed=1; then repeat" in last
    assert len([path for path in finished(tmp_path) if "split-20" in str(path)]) == 4  # of five with that of seed 9


def test_finished_branches_are_answered_without_torch_by_a_job_and_by_a_sweep(tmp_path, places):
    two = "'run.save_steps=[30]' hydra.launcher.n_jobs=2"
    command = f"python -m lmc_lab.train {TINY} {places} -m split_step=10,20 'seed=range(3)' {two}"
    first = succeed(command)
    for again in (command, command.replace("-m split_step=10,20 'seed=range(3)'", "split_step=20 'seed=[1,2,0]'")):
        result = shell(again, PYTHONPROFILEIMPORTTIME="1")  # of all processes, a worker's and the server's, too
        folders = [line for line in result.stdout.splitlines() if "/branch-" in line]
        assert result.returncode == 0 and len(set(folders)) == (6 if again is command else 3)
        assert set(folders) <= set(first.splitlines())
        assert "lmc_lab.runs.finished" in result.stderr and "torch" not in result.stderr
        assert "numpy" not in result.stderr
    assert result.stdout.splitlines() == [
        folder for seed in (1, 2, 0) for folder in folders if f"-{seed}" in folder[-2:]
    ]
    done = [line.split(" ", 1)[1] for line in succeed(command).splitlines() if line.endswith(": done")]
    assert len(done) == 6  # in the order of the sweep; when they were trained, the one that ended first came first
    assert sorted(done) == sorted(line.split(" ", 1)[1] for line in first.splitlines() if line.endswith(": done"))


def interrupted(command, condition):
    """Returns what a command prints to stderr when the user presses Ctrl-C as soon as a condition holds."""
    with start(command) as process:
        wait_for(condition)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    return errors.splitlines()


@pytest.mark.parametrize("options", ["", "split_step=3 -m 'seed=range(2)'"])
def test_interrupted_training_says_how_to_go_on(tmp_path, places, options):
    (line,) = interrupted(
        f"python -m lmc_lab.train {LONG} {places} {options}", lambda: list(tmp_path.rglob("metrics.csv"))
    )
    assert line.startswith("lmc_lab: interrupted; go on with: python -m lmc_lab.train")


def test_a_sweep_is_interrupted_before_it_begins(tmp_path, places):
    command = f"python -m lmc_lab.train {LONG} {places} split_step=3 -m 'seed=range(2)'"
    (line,) = interrupted(command, lambda: list(tmp_path.rglob("multirun.yaml")))
    assert line.startswith("lmc_lab: interrupted; go on with: python -m lmc_lab.train")
    assert not list(tmp_path.rglob("status.json"))


@pytest.mark.parametrize("entry_point", ["train", "study"])
def test_no_worker_outlives_its_parent(tmp_path, places, entry_point):
    if entry_point == "train":
        command = f"python -m lmc_lab.train {LONG} {places} split_step=3 -m 'seed=range(2)'"
    else:
        command = f"python -m lmc_lab.study {places} 'overrides=[\"task.max_steps=20000\"]'"
    with start(command) as parent:
        pids = wait_for(lambda: running_pids(tmp_path))
        kill(parent.pid)
        wait_for(lambda: not any(is_alive(pid) for pid in pids), seconds=20)
