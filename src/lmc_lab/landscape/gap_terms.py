"""Why is a hull point better? Its Jensen gap, split into what averaging outputs gains and what the network's bend adds.

For a hull point W_a = sum_i a_i W_i, let f_a be its outputs on an example, f_i those of endpoint i, f_bar = sum_i a_i
f_i, and l the loss of outputs. Then, exactly,

    l(f_a) - sum_i a_i l(f_i) = bend - averaging,  bend = l(f_a) - l(f_bar),  averaging = sum_i a_i l(f_i) - l(f_bar).

Averaging is what an ensemble of the endpoints' outputs gains, and is not negative where l is convex in the outputs.
The bend is 0 for a network that is linear in its parameters. For the cross-entropy of logits, averaging = sum_i a_i
LSE(f_i) - LSE(f_bar), and bend = LSE(f_a) - LSE(f_bar) - (f_a - f_bar)_y; for a squared error averaging is the
variance sum_i a_i |f_i - f_bar|^2. On a line this is D - J - E_y of Bae ("Linear mode connectivity barriers are logit
linearization gaps", 2026); over the simplex it is derived here.

Shapes: P endpoints, n hull points.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GapTerms:
    """Terms of the Jensen gaps of n hull points, means over the examples, float64 (n,)."""

    bend: Tensor
    averaging: Tensor
    corner: Tensor  # sum_i a_i L_i - L_end: how much better the nearest endpoint is than the endpoints on average

    @classmethod
    def of(
        cls, *, hull: Tensor, mean_outputs: Tensor, endpoints: Tensor, coefficients: Tensor, nearest: Tensor
    ) -> "GapTerms":
        """Returns the terms.

        Args:
            hull: losses of the hull points, (n,).
            mean_outputs: losses of f_bar, (n,).
            endpoints: losses of the endpoints, (P,).
            coefficients: a, (n, P).
            nearest: index of each hull point's nearest endpoint, (n,).
        """
        mixed = coefficients.double() @ endpoints.double()
        losses = mean_outputs.double()
        return cls(hull.double() - losses, mixed - losses, mixed - endpoints.double()[nearest])

    def gain_of(self, losses: Tensor, mean_outputs: Tensor) -> Tensor:
        """Returns what another way of averaging gains, (n,), from its losses (n,) and those of f_bar."""
        return self.averaging + mean_outputs.double() - losses.double()

    @property
    def jensen_gap(self) -> Tensor:
        """Returns L(W_a) - sum_i a_i L(W_i), (n,)."""
        return self.bend - self.averaging

    @property
    def excess(self) -> Tensor:
        """Returns L(W_a) - L(W_end), (n,): whose sign `p_conv` counts."""
        return self.jensen_gap + self.corner


def mean_outputs(outputs: Tensor, coefficients: Tensor) -> Tensor:
    """Returns f_bar (n, B, ...) of the outputs (P, B, ...) of endpoints: base + sum a_i (f_i - base) in float64, rounded once.

    Of equal outputs it is then exactly these.
    """
    base = outputs[0].double()
    differences = (outputs.double() - base).flatten(1)
    mixed = coefficients.to(differences) @ differences
    return (base + mixed.view(len(coefficients), *base.shape)).to(outputs.dtype)


def mean_probabilities(logits: Tensor, coefficients: Tensor) -> Tensor:
    """Returns log sum_i a_i softmax(f_i), (n, B, ..., K), of logits (P, B, ..., K): logits of the mean of probabilities."""
    log_probabilities = logits.double().log_softmax(dim=-1)
    log_coefficients = coefficients.to(log_probabilities).log().view(*coefficients.shape, *[1] * (logits.dim() - 1))
    return torch.stack(
        [torch.logsumexp(log_weights + log_probabilities, dim=0) for log_weights in log_coefficients]
    ).to(logits.dtype)
