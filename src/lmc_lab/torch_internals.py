"""What torch keeps of tensors and modules and has no public name for: the one place where it is taken from inside."""

from typing import TypeGuard

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def version_of(tensor: Tensor) -> int:
    """Returns how often a tensor's memory was changed in place, by which autograd sees that a saved tensor is not the same."""
    return tensor._version


def buffers_of(module: nn.Module) -> dict[str, Tensor | None]:
    """Returns the module's own buffers by name, those that are None among them, as the dict in which the module has them."""
    return module._buffers


def has_hooks(module: nn.Module) -> bool:
    """Returns whether functions of somebody's are called before or after the module's forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def parameter_of(module: nn.Module, name: str) -> nn.Parameter | None:
    """Returns the parameter that the module itself keeps under a name; None where an attribute of that name is computed."""
    return module._parameters.get(name)


def is_batch_norm(module: nn.Module) -> TypeGuard[_BatchNorm]:
    """Returns whether the module is a BatchNorm of any number of dimensions."""
    return isinstance(module, _BatchNorm)
