"""Which examples make a barrier, and which were hard early in training? Barriers at midpoints, example by example; EL2N.

Shapes: P endpoints of a mode, N examples, Q pairs of endpoints, C classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmc_lab.landscape.lines import pairs_of


@dataclass(frozen=True)
class ExampleBarriers:
    """How much higher than the mean of both ends the loss of each example is at the midpoint of each pair of endpoints.

    It may be negative. Its mean over examples is the Jensen gap of the midpoint; that of an example, over pairs, is what the
    code of Paul, Larsen et al. 2022 (arXiv 2206.01278) compares with EL2N.
    """

    values: Tensor  # (Q, N) float64
    num_endpoints: int  # P

    @classmethod
    def of(cls, endpoints: Tensor, midpoints: Tensor) -> "ExampleBarriers":
        """Returns the barriers from losses of examples.

        Args:
            endpoints: at the endpoints, (P, N).
            midpoints: at the midpoints, (Q, N), in the order of `pairs_of`.

        Raises:
            ValueError: there are not as many midpoints as pairs.
        """
        pairs = torch.tensor(pairs_of(len(endpoints))).reshape(-1, 2)
        if len(pairs) != len(midpoints) or not len(pairs):
            raise ValueError(f"expected midpoints of {len(pairs)} pairs, at least one, found {len(midpoints)}")
        ends = endpoints.double()
        return cls(midpoints.double() - (ends[pairs[:, 0]] + ends[pairs[:, 1]]) / 2, len(endpoints))

    @property
    def by_example(self) -> Tensor:
        """Returns the mean over pairs for each example, float64 (N,)."""
        return self.values.mean(dim=0)

    def mean_over(self, examples: Tensor) -> Tensor:
        """Returns the mean over the chosen `examples`, bool (N,), for each pair, float64 (Q,)."""
        return self.values[:, examples].mean(dim=1)


def error_norms(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns |softmax(f(x)) - y|_2 of each example, y with a 1 at its class, float64 (..., N): from 0 to the root of 2.

    EL2N is its expectation over initial weights and noise, early in training (Paul, Ganguli and Dziugaite 2021, arXiv
    2107.07075, definition 2.3); weights of one run give one draw of it.

    Args:
        logits: (..., N, C).
        targets: classes (N,).
    """
    errors = logits.double().softmax(dim=-1)
    return (errors - torch.nn.functional.one_hot(targets, logits.shape[-1])).norm(dim=-1)


def rank_groups(values: Tensor, num_groups: int) -> Tensor:
    """Returns the group of each of N `values`, int64 (N,): 0 for the smallest N / `num_groups`; equal ones by their order."""
    ranks = torch.empty(len(values), dtype=torch.int64)
    ranks[values.argsort(stable=True)] = torch.arange(len(values))
    return ranks * num_groups // len(values)
