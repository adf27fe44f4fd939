"""Branches that train on from the endpoint of their own seed."""

from dataclasses import replace

import pytest
import torch

from lmc_lab.errors import UserError
from lmc_lab.runs.continuation import own_endpoint
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.paths import TRUNK
from lmc_lab.runs.run import Run
from lmc_lab.runs.variation import Variation
from tiny import tiny_experiment, train_branch


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    experiment = tiny_experiment(tmp_path_factory.mktemp("tiny"))
    for seed in range(2):
        train_branch(experiment, 13, seed)
    return experiment


def test_a_branch_begins_at_the_endpoint_of_its_seed_buffers_included(experiment):
    mode = load_mode(experiment, 13)
    module = experiment.task.initialise(0)
    given = {name: torch.zeros_like(value) for name, value in module.state_dict().items()}
    for seed in range(2):
        found = own_endpoint(given, Run(experiment, 13, seed).origin)
        assert found.keys() == given.keys()
        assert torch.equal(mode.layout.flatten(found), mode.endpoints[seed])
        assert all(torch.equal(found[name], values[seed]) for name, values in mode.buffers.items())
    assert len(mode.buffers) > 1


def test_it_takes_as_many_steps_again(experiment):
    rule = {"_target_": "lmc_lab.runs.continuation.own_endpoint"}
    going_on = replace(experiment, variation=Variation(start=own_endpoint, described={"start": rule}))
    train_branch(going_on, 13, 0)
    once = load_mode(experiment, 13).endpoints[0]
    twice = load_mode(going_on, 13, seeds=[0], fewest=1).endpoints[0]
    again = load_mode(experiment, 13, seeds=[0], fewest=1).endpoints[0]
    assert torch.equal(once, again) and (twice - once).norm() > 0.01


@pytest.mark.parametrize(("seed", "message"), [(TRUNK, "found the trunk's"), (7, "seed=7")])
def test_without_an_endpoint_there_is_nothing_to_begin_at(experiment, seed, message):
    with pytest.raises(UserError, match=message):
        own_endpoint({}, Run(experiment, 13, seed).origin)
