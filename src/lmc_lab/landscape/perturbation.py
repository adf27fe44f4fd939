"""Perturbations e of weights that are as long as the weights deviate at the initialisation.

With s_l the standard deviation of tensor l at W_0 and n_l its size, the length of every e is (sum_l n_l s_l^2)^(1/2), so that
sigma counts in units of the initialisation (Altintas et al. 2025, arXiv 2506.13234, and `scale_noise` of the code to it). They
take s_l from the rule by which a tensor is drawn; here it is that of the tensor's entries, whatever drew them.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

Named = Mapping[str, Tensor]


def deviations(initial: Named) -> dict[str, float]:
    """Returns s_l of each tensor of W_0, 0 for one whose entries are equal."""
    return {name: float(value.double().std(correction=0)) for name, value in initial.items()}


def initial_length(initial: Named) -> float:
    """Returns the length of every perturbation e."""
    sizes = deviations(initial)
    return float(sum(value.numel() * sizes[name] ** 2 for name, value in initial.items()) ** 0.5)


def gaussian(initial: Named, generator: torch.Generator) -> dict[str, Tensor]:
    """Returns independent Gaussian numbers in the shapes of the tensors of W_0, with the deviation of each, float64."""
    return {
        name: deviation * torch.randn(initial[name].shape, generator=generator, dtype=torch.float64)
        for name, deviation in deviations(initial).items()
    }


def scaled(noise: Named, length: float) -> dict[str, Tensor]:
    """Returns the noise with this length in all, float64; noise without length stays."""
    norm = (
        float(torch.stack([value.double().square().sum() for value in noise.values()]).sum().sqrt()) if noise else 0.0
    )
    factor = length / norm if norm > 0 else 1.0
    return {name: factor * value.double() for name, value in noise.items()}
