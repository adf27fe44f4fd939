"""Each shipped task, with random layers in none: two branches together for 20 steps in float64 are those alone."""

import pytest
import torch
from hydra import compose, initialize_config_dir

from conftest import REPOSITORY
from lmc_lab.compose import build_experiment
from lmc_lab.runs import checkpoint
from lmc_lab.runs.companions import why_alone
from lmc_lab.runs.run import Run
from lmc_lab.runs.together import train_together
from lmc_lab.runs.trunk import ensure_split
from tiny import train_branch

# At its own rate of 0.1 the first steps multiply a difference by ten each, alone as together.
CALM = "task.optimizer.lr=0.001"
SMALL = {
    "mnist1d": ["task.data.num_train=400"],
    "lenet": ["task.data.num_train=64", "task.data.num_test=16", "task.batch_size=16"],
    "lenet_m": ["task.data.num_train=64", "task.data.num_test=16", "task.batch_size=16"],
    "resnet20": ["task.data.num_train=32", "task.data.num_test=16", "task.batch_size=8", CALM],
    "siren": ["task.batch_size=512"],
}


@pytest.mark.parametrize("task", SMALL)
def test_a_shipped_task_is_the_same_together_and_alone(task, tmp_path, real_data, shared_cache):
    given = [
        f"task={task}",
        *SMALL[task],
        "task.max_steps=22",
        "task.precision=64-true",
        f"cache_dir={shared_cache}",
    ]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        own, other = (
            build_experiment(compose("train", [*given, f"data_dir={real_data}", f"output_dir={tmp_path / name}"]))
            for name in ("together", "alone")
        )
    for each in (own, other):
        ensure_split(each, 2)
    runs = [Run(own, 2, seed) for seed in (0, 1)]
    assert why_alone(runs[0], allows_noise=False) is None
    train_together(runs)
    for run in runs:
        expected = checkpoint.load(train_branch(other, 2, run.seed).endpoint).state["model"]
        found = checkpoint.load(run.folder.endpoint).state["model"]
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-12)
