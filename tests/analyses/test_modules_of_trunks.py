"""A module may have random buffers that are in no state dict: then it is that of one trunk alone."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import nn

from lmc_lab.analyses.base import LeftOut, Measurement, Record
from lmc_lab.analyses.inter_alignment import InterAlignment
from lmc_lab.analyses.predictions import InterMode, Predictions
from lmc_lab.analyses.star import InterStar
from lmc_lab.landscape.predictions import unpack_mask
from lmc_lab.runs.endpoints import load_mode
from lmc_lab.runs.modes import Modes
from tiny import tiny_experiment, train_branch


class Projection(nn.Module):
    """Random directions, which are no parameter and are not saved."""

    def __init__(self):
        super().__init__()
        self.register_buffer("directions", torch.randn(2, 8), persistent=False)

    def forward(self, x):
        return x @ self.directions


@pytest.fixture(scope="module")
def modes(tmp_path_factory):
    first = tiny_experiment(tmp_path_factory.mktemp("tiny"))
    task = replace(
        first.task, build_model=lambda: nn.Sequential(Projection(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    )
    trunks = [replace(first, task=task, trunk_seed=seed) for seed in (0, 1)]
    for trunk, seed in product(trunks, range(3)):
        train_branch(trunk, 13, seed)
    return Modes(tuple(load_mode(trunk, 13) for trunk in trunks)), task


def test_endpoints_of_each_trunk_are_evaluated_in_its_own_module(modes):
    modes, task = modes
    records = {item.name: item.tensor for item in InterMode().measure(modes, task) if isinstance(item, Record)}
    sets = unpack_mask(records["train_intra_mode"], len(task.dataset.train))
    alone = [
        item.value
        for mode in modes
        for item in Predictions().measure(mode, task)
        if isinstance(item, Measurement) and item.quantity == "intra_mode" and item.subset == "train"
    ]
    assert sets.double().mean(dim=1).tolist() == pytest.approx(alone)


@pytest.mark.parametrize("analysis", [InterStar(), InterAlignment()])
def test_nothing_is_said_of_points_between_trunks_that_have_no_module_in_common(modes, analysis):
    (found,) = analysis.measure(*modes)
    assert isinstance(found, LeftOut) and "in no state dict" in found.why
