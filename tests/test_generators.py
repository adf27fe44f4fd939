"""Whoever draws random numbers, a model of the user's say, gets the same ones again, from Python, numpy and torch alike."""

import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lmc_lab.data.transforms import Transforms
from lmc_lab.generators import forked_generators, generator_states, seed_generators
from lmc_lab.runs.companions import why_alone
from lmc_lab.runs.manual import loss_of_batch
from lmc_lab.runs.run import Run
from lmc_lab.tasks.precision import precision_of
from tiny import tiny_experiment


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 3, 2**63 - 1])
def test_seeded_generators_draw_what_they_do_after_manual_seed(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = torch.rand(9), torch.randn(9), torch.randperm(9)
        torch.manual_seed(1)
        seed_generators(seed)
        found = torch.rand(9), torch.randn(9), torch.randperm(9)
    assert all(map(torch.equal, found, expected))


def test_noise_from_numpy_and_python_is_seeded_too():
    drawn = []
    for seed in (3, 3, 4):
        seed_generators(seed)
        drawn.append((random.random(), np.random.beta(1.0, 1.0)))
    assert drawn[0] == drawn[1] and not {*drawn[1]} & {*drawn[2]}


def test_forked_generators_are_put_back_also_after_an_error():
    before = generator_states()
    with pytest.raises(ZeroDivisionError), forked_generators():
        seed_generators(3)
        assert generator_states() != before
        raise ZeroDivisionError
    assert generator_states() == before


class Jittered(nn.Linear):
    """Weights from numpy and Python; noise from both in training."""

    def __init__(self):
        super().__init__(2, 3)
        with torch.no_grad():
            self.weight += torch.tensor(np.random.randn(3, 2), dtype=torch.float32) + random.gauss(0.0, 1.0)

    def forward(self, x):
        return super().forward(x * (np.random.rand() + random.random()) if self.training else x)


@pytest.fixture
def jittered(tmp_path):
    own = tiny_experiment(tmp_path)
    return replace(own, task=replace(own.task, build_model=Jittered))


def test_first_weights_are_a_function_of_the_seed_alone(jittered):
    before = generator_states()
    first, again, other = (jittered.task.initialise(seed).model.weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert generator_states() == before


def test_a_step_computed_anew_has_the_noise_that_it_had(jittered):
    module, batches = jittered.task.initialise(0), Run(jittered).batches(0)
    loss = partial(loss_of_batch, module, precision_of("32-true"), batches, device=torch.device("cpu"))
    first, again, other = (float(loss(step)().detach()) for step in (7, 7, 8))
    assert first == again != other


def test_a_model_with_noise_from_numpy_alone_is_trained_alone(jittered):
    assert "draw numbers" in why_alone(Run(jittered, 13, 0), allows_noise=False)


def test_transforms_that_draw_from_numpy_follow_from_the_generator():
    transforms = Transforms([lambda example: example + float(np.random.rand()) + random.random()])
    before = generator_states()
    first, again, other = (transforms(torch.zeros(4, 2), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert generator_states() == before
