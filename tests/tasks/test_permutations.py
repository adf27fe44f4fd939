"""Neurons of the shipped tasks' modules that may change places, each tried before it is believed."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from conftest import REPOSITORY
from lmc_lab.compose import build_experiment
from lmc_lab.landscape.permutations import Block
from lmc_lab.tasks import permutations
from lmc_lab.tasks.permutations import NoPermutations, tried_blocks

IMAGE = (3, 32, 32)
SHAPES = {
    ("lenet",): IMAGE,
    ("lenet_m",): IMAGE,
    ("mnist1d",): (1, 40),
    ("siren",): (1,),
    ("resnet20",): IMAGE,
    ("resnet20", "task.model.norm=group"): IMAGE,
    ("resnet20", "task.model.norm=none"): IMAGE,
}


def state_of(module):
    """Parameters and buffers, moved off zero and off one, where a wrong order may not be seen."""
    torch.manual_seed(0)
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        name: tensor.detach() + 0.02 * torch.randn_like(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in own.items()
    }


@pytest.mark.parametrize(("task", "shape"), SHAPES.items(), ids=lambda each: "-".join(map(str, each)))
def test_the_module_of_every_shipped_task_has_such_neurons(task, shape, tmp_path):
    name, *overrides = task
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = compose("train", [f"task={name}", f"output_dir={tmp_path}", *overrides])
        module = build_experiment(config).task.initialise(0)
    state, inputs = state_of(module), torch.randn(2, *shape)
    blocks = tried_blocks(module, state, inputs)
    assert {axis.tensor for block in blocks for axis in block.axes} <= set(state) and len(blocks) >= 3


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_tie_that_is_missing_is_seen(left_out, monkeypatch):
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    (block,) = tried_blocks(model, state_of(model), torch.randn(4, 3))
    torn = Block(block.axes[:left_out] + block.axes[left_out + 1 :])
    monkeypatch.setattr(permutations, "permutable_blocks", lambda module: [torn])
    with pytest.raises(NoPermutations, match="as it was traced, computes something else"):
        tried_blocks(model, state_of(model), torch.randn(4, 3))


def test_a_linear_model_has_no_neurons_that_change_places():
    model = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(NoPermutations, match="no neurons"):
        tried_blocks(model, state_of(model), torch.zeros(1, 2))
