"""What is taken from inside torch is still there and means the same."""

import torch
from torch import nn

from lmc_lab.torch_internals import buffers_of, has_hooks, is_batch_norm, parameter_of, version_of


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


def test_hooks_are_seen():
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        module = nn.Linear(2, 2)
        assert not has_hooks(module)
        handle = getattr(module, register)(lambda *given: None)
        assert has_hooks(module)
        handle.remove()
        assert not has_hooks(module)


def test_a_parameter_is_the_modules_own_and_none_where_it_is_computed():
    module = nn.Linear(2, 2)
    assert parameter_of(module, "weight") is module.weight and parameter_of(module, "other") is None
    parametrized = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    assert parameter_of(parametrized, "weight") is None and parametrized.weight is not None


def test_every_batch_norm_is_one():
    assert all(map(is_batch_norm, (nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.SyncBatchNorm(2))))
    assert not is_batch_norm(nn.GroupNorm(1, 2))
