"""How often does the bootstrap's 95 % interval of a mean over pairs have the mean in it?

``python -m benchmarks.bootstrap_coverage`` prints the table in `lmc_lab.reporting.bootstrap_coverage`, for P = 3 to 20.
Two quantities of pairs of normal points stand for an instability and a barrier: their squared distance, and what of it is above
its mean, which is 0 for half of the pairs. 18,000 intervals of each take ten minutes on one core.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lmc_lab.analyses.estimates import bootstrap_pair_mean

NUM_TRIALS = 1000
_DIMENSIONS = 10  # of the points
_MEAN = 2.0 * _DIMENSIONS  # of a squared distance


def squared_distances(points: Tensor) -> Tensor:
    """Returns the squared distances between points (..., P, D), as (..., P, P)."""
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").square()


def above_the_mean(points: Tensor) -> Tensor:
    """Returns what of the squared distances between points (..., P, D) is above their mean, as (..., P, P)."""
    return (squared_distances(points) - _MEAN).clamp(min=0)


def coverage(quantity: Callable[[Tensor], Tensor], num_endpoints: int, num_trials: int = NUM_TRIALS) -> float:
    """Returns the share of intervals, each of other points, that have the mean of the quantity in them."""
    generator = torch.Generator().manual_seed(num_endpoints)
    mean = expectation(quantity)
    covered = 0
    for _ in range(num_trials):
        points = torch.randn(num_endpoints, _DIMENSIONS, dtype=torch.float64, generator=generator)
        found = bootstrap_pair_mean("", quantity(points))
        covered += found.low is not None and found.high is not None and found.low <= mean <= found.high
    return covered / num_trials


def expectation(quantity: Callable[[Tensor], Tensor], num_pairs: int = 1_000_000) -> float:
    """Returns the mean of the quantity over independent pairs of points."""
    pairs = torch.randn(num_pairs, 2, _DIMENSIONS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return float(quantity(pairs)[:, 0, 1].mean())


def main() -> None:
    """Prints the table."""
    for num_endpoints in range(3, 21):
        shares = sorted(coverage(quantity, num_endpoints) for quantity in (squared_distances, above_the_mean))
        print(f"    {num_endpoints}: ({shares[0]:.2f}, {shares[1]:.2f}),", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
