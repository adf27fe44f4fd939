"""Linear mode connectivity of a pair (Frankle et al. 2020, arXiv:1912.05671)."""

from dataclasses import dataclass

import torch
from torch import Tensor


def line_coefficients(num_points: int) -> Tensor:
    """Returns the coefficients (1 - t, t) of both ends at `num_points` even steps from t = 0 to 1, float64 (num_points, 2).

    Frankle et al. take 30 points; an odd number has the midpoint among them.

    Raises:
        ValueError: fewer than three points: there would be nothing between the ends.
    """
    if num_points < 3:
        raise ValueError(f"expected at least 3 points on the line, both ends included, found {num_points}")
    t = torch.linspace(0, 1, num_points, dtype=torch.float64)
    return torch.stack([1 - t, t], dim=1)


@dataclass(frozen=True)
class LineProfile:
    """A quantity (loss or error) along the line between two points, both ends included."""

    fractions: Tensor  # (R,) float64, t from 0 to 1: the second column of `line_coefficients`
    values: Tensor  # (R,) float64

    def __post_init__(self) -> None:
        t = self.fractions
        if t.ndim != 1 or t.shape != self.values.shape or len(t) < 2 or t[0] != 0 or t[-1] != 1:
            shapes = f"{tuple(t.shape)} and {tuple(self.values.shape)}"
            raise ValueError(f"expected fractions from 0 to 1 and as many values, found shapes {shapes}")

    @property
    def barrier(self) -> float:
        """Returns the largest height above the chord between the ends, >= 0 (NaN if any value is)."""
        values = self.values.double()
        return float((values - torch.lerp(values[0], values[-1], self.fractions.double())).max())

    @property
    def rise(self) -> float:
        """Returns the largest height above the second end, >= 0 (NaN if any value is): how far a way from there climbs."""
        values = self.values.double()
        return float((values - values[-1]).max())

    @property
    def instability(self) -> float:
        """Returns the largest value above the mean of the two ends, >= 0 (NaN if any value is)."""
        values = self.values.double()
        return float(values.max() - (values[0] + values[-1]) / 2)
