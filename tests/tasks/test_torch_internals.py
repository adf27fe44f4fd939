"""What is taken from inside torch is still there and means the same."""

import torch
from torch import nn

from lmc_lab.tasks.torch_internals import buffers_of, version_of


def test_a_version_counts_changes_in_place_also_those_through_a_view():
    tensor = torch.zeros(3)
    before = version_of(tensor)
    tensor + 1
    assert version_of(tensor) == before
    tensor.add_(1)
    tensor[1:].mul_(2)
    assert version_of(tensor) == before + 2


def test_buffers_are_those_of_the_module_itself_and_may_be_replaced():
    module = nn.Sequential(nn.BatchNorm1d(2))
    module.register_buffer("own", torch.zeros(1))
    module.register_buffer("none", None)
    assert buffers_of(module).keys() == {"own", "none"} and buffers_of(module)["none"] is None
    assert buffers_of(module[0]).keys() == {"running_mean", "running_var", "num_batches_tracked"}
    buffers_of(module)["own"] = other = torch.ones(1)
    assert module.own is other and module.state_dict()["own"].equal(other)
