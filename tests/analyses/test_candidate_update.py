"""A candidate update is the step that Lightning takes: bit for bit the trunk's own next step, in its own data order."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from lmc_lab.analyses import midpoint_gap
from lmc_lab.analyses.base import Choice, LeftOut, Measurement
from lmc_lab.analyses.midpoint_gap import TrunkMidpointGap, candidate_update
from lmc_lab.runs.run import Run
from lmc_lab.runs.states import load_trunk
from lmc_lab.runs.trunk import ensure_trunk
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.supervised import SupervisedTask
from tiny import build_model, build_module, tiny_experiment


class Scheduled(SupervisedTask):
    """A temperature that is trained, and a rate that falls."""

    def __init__(self, model):
        super().__init__(model, partial(torch.optim.SGD, lr=0.05, momentum=0.9))
        self.temperature = nn.Parameter(torch.tensor(2.0))

    def per_example_loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs / self.temperature, targets, reduction="none")

    def is_correct(self, outputs, targets):
        return outputs.argmax(1) == targets

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def with_closure(model):
    return Classification(model, partial(torch.optim.LBFGS, lr=0.1, max_iter=3))


def tied_model():
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 3))
    model[4].weight = model[2].weight
    return model


def parametrised_model():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 8)), nn.Tanh(), nn.Linear(8, 3))


CLIPPED = [{"gradient_clip_val": 0.05}, {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}]


def next_step(tmp_path, monkeypatch, *, trainer=None, **changes):
    """W_6 of a trunk, and what a candidate update makes of W_5 with the trunk's batch; both as they were trained."""
    experiment = tiny_experiment(
        tmp_path, max_steps=6, make_trainer=partial(Trainer, accelerator="cpu", **(trainer or {}))
    )
    experiment = replace(experiment, task=replace(experiment.task, **changes))
    ensure_trunk(experiment, {5, 6})
    _, before, after = load_trunk(experiment).states
    monkeypatch.setattr(midpoint_gap, "DataOrder", lambda *arguments: Run(experiment).batches(0).order)
    return after.theta, candidate_update(experiment.task, 0, before, experiment.task.dataset.train, 0), before.theta


@pytest.mark.parametrize("precision", ["32-true", "bf16-true", "64-true", "bf16-mixed"])
def test_in_every_precision(tmp_path, monkeypatch, precision):
    trained, found, before = next_step(tmp_path, monkeypatch, precision=precision)
    assert found.dtype == {"bf16-true": torch.bfloat16, "64-true": torch.float64}.get(precision, torch.float32)
    if precision == "64-true":  # W_5 is kept in float32
        torch.testing.assert_close(found.float(), trained, rtol=1e-5, atol=1e-7)
    else:
        assert torch.equal(found.float(), trained)
    assert not torch.equal(trained, before)


@pytest.mark.parametrize("changes", [{"build_module": build_module}, *CLIPPED])
def test_with_clipped_gradients(tmp_path, monkeypatch, changes):
    trainer = {name: value for name, value in changes.items() if "clip" in name}
    trained, found, _ = next_step(tmp_path, monkeypatch, trainer=trainer, **changes)
    assert torch.equal(found, trained)


@pytest.mark.parametrize(
    ("build_model", "build_module"),
    [
        (build_model, Scheduled),
        (build_model, with_closure),
        (tied_model, build_module),
        (parametrised_model, build_module),
        (lambda: nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3)), build_module),
    ],
)
def test_of_any_module(tmp_path, monkeypatch, build_model, build_module):
    trained, found, _ = next_step(tmp_path, monkeypatch, build_model=build_model, build_module=build_module)
    assert torch.equal(found, trained)


def test_the_gap_of_a_scheduled_task_with_a_temperature(tmp_path):
    experiment = tiny_experiment(tmp_path, max_steps=6)
    experiment = replace(experiment, task=replace(experiment.task, build_module=Scheduled))
    ensure_trunk(experiment, {3})
    found = list(TrunkMidpointGap(num_pairs=3, num_examples=80).measure(load_trunk(experiment), experiment.task))
    assert [item.value for item in found if isinstance(item, Choice)] == ["stacked", "cpu"]
    gaps = [m.value for m in found if isinstance(m, Measurement) and m.quantity == "midpoint_gap"]
    assert len(gaps) == 2 and all(gap != 0 and abs(gap) < 1 for gap in gaps)


def test_batches_of_the_whole_set_leave_none_to_measure_on(tmp_path):
    experiment = tiny_experiment(tmp_path, max_steps=6)
    ensure_trunk(experiment, {3})
    task = replace(experiment.task, batch_size=len(experiment.task.dataset.train))
    (found,) = TrunkMidpointGap().measure(load_trunk(experiment), task)
    assert isinstance(found, LeftOut) and "a batch is the whole training set" in found.why
