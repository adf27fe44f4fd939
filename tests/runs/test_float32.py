"""What a GPU would be allowed while it trains."""

from dataclasses import replace

import pytest
import torch
from torch.backends import cudnn

from lmc_lab.runs import checkpoint
from lmc_lab.runs.run import Run
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.together import train_together
from lmc_lab.runs.trunk import ensure_split
from lmc_lab.tasks.classification import Classification
from tiny import build_module, tiny_experiment, train_branch


class Watching(Classification):
    """Notes at each step what is allowed."""

    seen = set()

    def training_loss(self, batch):
        matmul = torch.backends.cuda.matmul
        self.seen.add((matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark))
        return super().training_loss(batch)


def watching(model):
    task = build_module(model)
    return Watching(task.model, task._optimizer, num_classes=3)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("precision", "deterministic", "expected"),
    [
        ("32-true", True, (False, False, True, False)),
        ("tf32", True, (True, True, True, False)),
        ("tf32", False, (True, True, False, True)),
        ("bf16-mixed", False, (False, False, False, True)),
    ],
)
def test_a_step_may_use_tf32_where_the_task_says_so(
    tmp_path, monkeypatch, precision, deterministic, expected, together
):
    monkeypatch.setattr(cudnn, "benchmark", True)  # as trainer.benchmark=true leaves it
    monkeypatch.setattr(Watching, "seen", set())
    own = tiny_experiment(tmp_path, settings=RunSettings(log_every=5, deterministic=deterministic))
    own = replace(own, task=replace(own.task, build_module=watching, precision=precision))
    ensure_split(own, 13)
    if together:
        Watching.seen.clear()
        train_together([Run(own, 13, seed) for seed in range(2)], randomness="different")
        assert all(Run(own, 13, seed).folder.endpoint.exists() for seed in range(2))
    else:
        train_branch(own, 13, 0)
    assert Watching.seen == {expected}
    assert cudnn.benchmark and not torch.backends.cuda.matmul.allow_tf32


def test_tf32_changes_nothing_on_a_cpu(tmp_path):
    ends = []
    for precision in ("32-true", "tf32"):
        own = tiny_experiment(tmp_path / precision)
        own = replace(own, task=replace(own.task, precision=precision))
        ends.append(checkpoint.load(train_branch(own, 13, 0).endpoint).state["model"])
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
