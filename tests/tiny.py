"""A task that trains in milliseconds: three clouds of points, a small network with dropout and momentum."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch import nn

from lmc_lab.data.examples import Dataset, Examples
from lmc_lab.runs.agreement import by_agreement
from lmc_lab.runs.branch import train_from
from lmc_lab.runs.continuation import own_endpoint
from lmc_lab.runs.experiment import Experiment, RunSettings
from lmc_lab.runs.noise import BranchNoise
from lmc_lab.runs.paths import RunPaths
from lmc_lab.runs.perturbation import perturbed
from lmc_lab.runs.trunk import ensure_split
from lmc_lab.runs.variation import Variation
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.task import Task


def clouds(num_examples=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (num_examples,), generator=generator)
    inputs = torch.randn(num_examples, 2, generator=generator) + 2 * torch.eye(3)[targets][:, :2]
    return Examples(inputs, targets, lambda x: x)


def build_model():
    return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def build_module(model):
    return Classification(model, partial(torch.optim.SGD, lr=0.05, momentum=0.9), num_classes=3)


def tiny_experiment(output_dir: Path, *, max_steps=40, digest="clouds", make_callbacks=tuple, **changes) -> Experiment:
    task = Task(
        name="tiny",
        fingerprint="0",
        batch_size=16,
        max_steps=max_steps,
        precision="32-true",
        build_model=build_model,
        build_module=build_module,
        load_data=lambda: Dataset(clouds(), clouds(90, seed=1), digest),
        make_callbacks=make_callbacks,
    )
    experiment = Experiment(
        task=task,
        paths=RunPaths.of(output_dir, task.name, task.fingerprint),
        trunk_seed=0,
        make_trainer=partial(Trainer, accelerator="cpu", devices=1),
        make_logger=lambda name, config: None,
        settings=RunSettings(log_every=5),
        config={"task": "tiny"},
    )
    return replace(experiment, **changes)


def with_callbacks(experiment, make_callbacks) -> Experiment:
    return replace(experiment, task=replace(experiment.task, make_callbacks=make_callbacks))


def variants(experiment, analysis) -> list[Experiment]:
    """The experiment with branches in each of the analysis' variations: started elsewhere, or of chosen examples."""
    functions = {"perturbed": perturbed, "own_endpoint": own_endpoint, "by_agreement": by_agreement}
    found = []
    for each in analysis.variations:
        parts = {}
        for part, node in each.items():
            settings = {name: value for name, value in node.items() if name != "_target_"}
            function = functions[node["_target_"].rpartition(".")[2]]
            parts[part] = partial(_told_origin, function=function, settings=settings)
        found.append(replace(experiment, variation=Variation(**parts, described=each)))
    return found


def augmented_clouds():
    def shifted(inputs, generator):
        return inputs + 0.1 * torch.randn(inputs.shape, generator=generator)

    return Dataset(clouds(), clouds(90, seed=1), "clouds", shifted)


def of_noise(experiment, analysis) -> list[Experiment]:
    """The experiment with branches of each kind of noise that the analysis asks for."""
    return [
        replace(experiment, variation=Variation(noise=BranchNoise(**each["noise"]), described=each))
        for each in analysis.variations_of(experiment.task)
    ]


def _told_origin(given, origin, function, settings):
    return function(given, origin, **settings)


def train_branch(experiment, split_step, seed):
    return train_from(experiment, ensure_split(experiment, split_step), seed)


def tiny_trunks(output_dir: Path) -> list[Experiment]:
    """Returns two trunks with three branches each from step 13."""
    trunks = [tiny_experiment(output_dir, trunk_seed=trunk) for trunk in (0, 1)]
    for trunk in trunks:
        for seed in range(3):
            train_branch(trunk, 13, seed)
    return trunks
