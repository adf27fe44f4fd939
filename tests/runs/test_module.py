from dataclasses import replace

import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.optim import SGD

from lmc_lab.errors import UserError
from lmc_lab.runs import checkpoint
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.module import TrainingModule
from lmc_lab.runs.settings import RunSettings
from lmc_lab.runs.trunk import ensure_split
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.supervised import SupervisedTask
from lmc_lab.tasks.task import Task
from tiny import build_model, clouds, tiny_experiment, train_branch


class Weighted(SupervisedTask):
    """A task with a buffer and a parameter of its own."""

    def __init__(self, model, optimizer):
        super().__init__(model, optimizer)
        self.register_buffer("weights", torch.tensor([1.0, 2.0, 3.0]))
        self.temperature = nn.Parameter(torch.tensor(2.0))

    def per_example_loss(self, outputs, targets):
        losses = nn.functional.cross_entropy(outputs / self.temperature, targets, reduction="none")
        return losses * self.weights[targets]

    def is_correct(self, outputs, targets):
        return outputs.argmax(1) == targets


def test_a_model_that_is_exchanged_is_the_one_that_is_trained():
    task = Classification(nn.Linear(4, 2), SGD)
    module = TrainingModule(task)
    task.model = nn.Linear(64, 3)
    assert [parameter.shape for parameter in module.parameters()] == [(3, 64), (3,)]


def test_a_checkpoint_has_the_state_of_the_task_under_its_own_names(tmp_path):
    experiment = tiny_experiment(tmp_path)
    own = replace(experiment.task, build_module=lambda model: Weighted(model, lambda parameters: SGD(parameters, 0.05)))
    experiment = replace(experiment, task=own)
    ensure_split(experiment, 10)
    state = checkpoint.load(experiment.trunk_folder.step(10)).state["state_dict"]
    assert state.keys() == {f"model.{name}" for name in build_model().state_dict()} | {"weights", "temperature"}
    assert state["temperature"] != 2.0  # trained with the rest
    for seed in (0, 1):
        train_branch(experiment, 10, seed)
    mode = load_mode(experiment, 10)
    assert len(mode) == 2 and set(mode.layout.names) == {name for name, _ in own.initialise(0).named_parameters()}


def test_the_test_set_is_measured_as_a_whole_whatever_its_last_batch(tmp_path):
    """90 test examples in batches of 16: a mean of batch means would count the last ten for sixteen."""
    logger = CSVLogger(tmp_path / "csv")
    experiment = tiny_experiment(
        tmp_path, settings=RunSettings(evaluate_every=10), make_logger=lambda name, config: logger
    )
    ensure_split(experiment, 20)
    rows = pd.read_csv(logger.experiment.metrics_file_path).dropna(subset="test_loss")
    at_10, at_20 = rows.to_dict("records")
    model = _model_at(experiment.task, experiment.trunk_folder.step(20))
    test = clouds(90, seed=1)
    outputs = model(test.inputs)
    assert at_20["test_loss"] == pytest.approx(nn.functional.cross_entropy(outputs, test.targets).item(), rel=1e-5)
    assert at_20["test_accuracy"] == pytest.approx((outputs.argmax(1) == test.targets).float().mean().item(), rel=1e-5)
    assert at_10["test_loss"] != at_20["test_loss"]


def _model_at(task: Task, path):
    module = task.initialise(0)
    module.load_state_dict(checkpoint.module_state(checkpoint.load(path).state))
    return module.eval()


def test_a_loss_that_is_not_a_number_is_seen():
    module = TrainingModule(Classification(nn.Linear(2, 3), SGD))
    module.log = lambda name, value, **options: None
    module.validation_step((torch.tensor([[0.0, 1.0], [float("nan"), 1.0]]), torch.tensor([0, 1])), 0)
    assert module.test_loss.compute().isnan() and module.test_accuracy.compute() <= 0.5


@pytest.mark.parametrize("hook", ["training_step", "validation_step", "on_train_batch_end", "on_before_zero_grad"])
def test_a_hook_that_nobody_would_call_is_refused(hook):
    mine = type("Mine", (Weighted,), {hook: lambda self, *arguments: None})
    with pytest.raises(UserError, match=f"expected Mine .*training_loss.* found {hook}"):
        TrainingModule(mine(build_model(), SGD))


def test_a_model_with_another_number_of_outputs_is_one_sentence():
    task = Classification(nn.Linear(4, 7), SGD, num_classes=10)
    with pytest.raises(UserError, match=r"expected 10 outputs an example, one for each class, found \(7,\)"):
        task.training_loss((torch.zeros(2, 4), torch.zeros(2, dtype=torch.long)))


def test_a_label_without_an_output_is_one_sentence():
    task = Classification(nn.Linear(4, 3), SGD)
    with pytest.raises(UserError, match="expected labels from 0 to 2, .* found 3; change the model or the data"):
        task.per_example_loss(task(torch.zeros(2, 4)), torch.tensor([0, 3]))


def test_hooks_of_the_optimizer_are_refused_too():
    class Own(Classification):
        def optimizer_step(self, *arguments):
            """Nobody calls it."""

    with pytest.raises(UserError, match="found optimizer_step, which nobody calls"):
        TrainingModule(Own(build_model(), lambda parameters: SGD(parameters, lr=0.1), num_classes=3))
