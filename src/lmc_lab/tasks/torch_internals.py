"""What torch keeps of tensors and modules and has no public name for: the one place where it is taken from inside."""

from torch import Tensor, nn

from lmc_lab.inputs import Inputs, by_name


def version_of(tensor: Tensor) -> int:
    """Returns how often a tensor's memory was changed in place, by which autograd sees that a saved tensor is not the same."""
    return tensor._version


def versions_of(inputs: Inputs) -> list[int]:
    """Returns the version of each tensor of a model's inputs."""
    return [version_of(tensor) for tensor in by_name(inputs).values()]


def buffers_of(module: nn.Module) -> dict[str, Tensor | None]:
    """Returns the module's own buffers by name, those that are None among them, as the dict in which the module has them."""
    return module._buffers
