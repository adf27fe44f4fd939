"""How many dimensions does a mode fill? Singular values of the stacked endpoints (section 2, Figure 3)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmc_lab.landscape.finite import check_endpoints
from lmc_lab.landscape.geometry import column_blocks


@dataclass(frozen=True)
class EndpointSpectrum:
    """The singular values of P endpoints of D parameters."""

    values: Tensor  # (min(P, D),) float64, decreasing
    is_centred: bool  # the mean endpoint was subtracted; at most P - 1 are then not zero
    resolution: float  # singular values below it are rounding
    num_endpoints: int
    num_parameters: int

    @property
    def normalised(self) -> Tensor:
        """Returns the values divided by the largest (zeros stay zeros), as in Figure 3's comparison of tasks."""
        return self.values / self.values[0] if self.values[0] > 0 else self.values

    @property
    def effective_rank(self) -> float:
        """Returns `effective_rank` of the values."""
        return effective_rank(self.values)


def singular_values(endpoints: Tensor, *, centred: bool) -> EndpointSpectrum:
    """Returns the singular values of the matrix of stacked endpoints, raw as in the paper or centred.

    Through the Gram matrix (P, P), summed in float64 over blocks of columns, which needs no second copy of the
    endpoints. It squares the values, and its sums of D products are off by about sqrt(D) eps (Higham & Mary 2019), so those
    below sqrt(eps max(P, sqrt(D))) of the largest are lost: 2e-7 for LeNet-5.

    Args:
        endpoints: (P, D).
        centred: subtract the mean endpoint first. The raw values are led by the distance of the mode from the origin;
            the bound of P - 1 dimensions holds for the centred ones.

    Raises:
        ValueError: no endpoints or no parameters.
        NotFinite: an endpoint holds NaN or infinity.
    """
    if endpoints.ndim != 2 or not endpoints.numel():
        raise ValueError(f"expected endpoints (P, D) with P, D >= 1, found {tuple(endpoints.shape)}")
    num_endpoints, num_parameters = endpoints.shape
    gram = torch.zeros(num_endpoints, num_endpoints, dtype=torch.float64, device=endpoints.device)
    for block in column_blocks(endpoints):
        part = block - block.mean(dim=0) if centred else block
        gram += part @ part.T
    check_endpoints(gram)
    values = torch.linalg.eigvalsh(gram.cpu()).clamp(min=0).sqrt().flip(0)[: min(num_endpoints, num_parameters)]
    rounding = torch.finfo(torch.float64).eps * max(num_endpoints, num_parameters**0.5)
    resolution = float(values[0]) * rounding**0.5
    return EndpointSpectrum(values, centred, resolution, num_endpoints, num_parameters)


def effective_rank(singular_values: Tensor) -> float:
    """Returns the effective rank of Roy & Vetterli (2007): exp(-sum p ln p), p = values / sum of values, not squared.

    It is n for n equal values; 0 where all are zero.

    Args:
        singular_values: (n,), non-negative.
    """
    total = singular_values.double().sum()
    if total == 0:
        return 0.0
    p = singular_values.double() / total
    return float(torch.special.entr(p).sum().exp())
