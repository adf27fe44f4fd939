import math

import torch
from torch import Tensor, nn

from lmc_lab.values import Count, Natural, Positive


class Sine(nn.Module):
    """The activation sin(omega x)."""

    def __init__(self, omega: float) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns sin(omega x) for inputs of any shape."""
        return torch.sin(self.omega * inputs)

    def extra_repr(self) -> str:
        """Returns what stands in the brackets of the printed module."""
        return f"omega={self.omega}"


class Siren(nn.Module):
    """The sinusoidal network of Sitzmann et al. 2020; the defaults are those of its audio experiment.

    Maps coordinates in [-1, 1], (B, in_features), to signals (B, out_features). 198,145 parameters by default.

    Args:
        in_features: The number of coordinates.
        out_features: The number of signals.
        width: The features of every hidden layer.
        num_hidden: The sine layers between the first layer and the linear output.
        first_omega: The factor in the first sine, which sets the frequencies that the network starts from.
        hidden_omega: The factor in the other sines; their weights are smaller by as much.
    """

    def __init__(
        self,
        *,
        in_features: Count = 1,
        out_features: Count = 1,
        width: Count = 256,
        num_hidden: Natural = 3,
        first_omega: Positive = 3000,
        hidden_omega: Positive = 30,
    ) -> None:
        super().__init__()
        hidden_bound = math.sqrt(6 / width) / hidden_omega
        layers = [_linear(in_features, width, bound=1 / in_features), Sine(first_omega)]
        for _ in range(num_hidden):
            layers += [_linear(width, width, bound=hidden_bound), Sine(hidden_omega)]
        layers.append(_linear(width, out_features, bound=hidden_bound))
        self.layers = nn.Sequential(*layers)

    def forward(self, coordinates: Tensor) -> Tensor:
        """Returns the signals (B, out_features) at coordinates (B, in_features)."""
        return self.layers(coordinates)


def _linear(in_features: int, out_features: int, *, bound: float) -> nn.Module:
    """Returns a linear layer with weights uniform in [-bound, bound], and biases as torch and SIREN's code have them."""
    linear = nn.Linear(in_features, out_features)
    nn.init.uniform_(linear.weight, -bound, bound)
    return linear
