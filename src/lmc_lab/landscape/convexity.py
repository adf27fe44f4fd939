"""Is the loss convex between two updates that SGD might have made? Appendix B's midpoint gap (Figure 4, bottom row)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log2

import torch
from torch import Tensor

from lmc_lab.landscape.finite import check_losses

# Rounding of one example's loss in its own forward pass, in units of float64's eps.
_FORWARD_EPS = 8


@dataclass(frozen=True)
class MidpointGap:
    """g = L((a + b) / 2) - (L(a) + L(b)) / 2: negative where the loss is convex between the two points."""

    value: float
    loss_a: float
    loss_b: float
    loss_midpoint: float
    resolution: float  # below it g is rounding
    is_resolved: bool  # |g| > resolution


def midpoint_gap(
    loss: Callable[[Tensor], Tensor],
    theta_a: Tensor,
    theta_b: Tensor,
    *,
    num_examples: int = 1,
    output_size: float = 1.0,
) -> MidpointGap:
    """Returns the midpoint gap g of Appendix B between two candidate updates W + dW_1 and W + dW_2.

    On 0.5 w'Hw it is -1/8 d'Hd with d = theta_b - theta_a, whatever W: O(learning rate^2), which float32 cannot see.
    The resolution is 2 (8 + log2 N) eps max(|L|, `output_size`): a loss is off by a few eps from the forward pass (8)
    and by log2 N eps from torch's pairwise sum over N examples; the three weights 1, 1/2, 1/2 add up to 2.
    An example's loss is a difference of outputs and targets (of logits, in cross-entropy), so that near zero loss the
    rounding is that of their size and not of the loss.

    Args:
        loss: thetas (3, D) float64 -> the mean loss of each in float64, over the same examples, outside both batches.
        theta_a: W + dW_1, (D,).
        theta_b: W + dW_2, (D,).
        num_examples: N, over which `loss` is a mean.
        output_size: order of magnitude of the model's outputs.

    Raises:
        ValueError: the points differ in shape, or `loss` returns something else than three float64.
        NotFinite: one of the three is NaN or infinite.
    """
    if theta_a.shape != theta_b.shape:
        raise ValueError(f"expected two points of one shape, found {tuple(theta_a.shape)} and {tuple(theta_b.shape)}")
    a, b = theta_a.double(), theta_b.double()
    loss_a, loss_b, middle = _evaluate(loss, torch.stack([a, b, (a + b) / 2]))
    # Differences of neighbouring numbers are exact; the sum of the two ends would round first.
    value = (middle - loss_a) / 2 + (middle - loss_b) / 2
    size = max(abs(loss_a), abs(loss_b), abs(middle), output_size)
    resolution = 2 * (_FORWARD_EPS + log2(num_examples)) * torch.finfo(torch.float64).eps * size
    return MidpointGap(value, loss_a, loss_b, middle, resolution, abs(value) > resolution)


def _evaluate(loss: Callable[[Tensor], Tensor], thetas: Tensor) -> list[float]:
    with torch.no_grad():
        values = loss(thetas)
    if values.dtype != torch.float64 or values.shape != (len(thetas),):
        raise ValueError(
            f"expected {len(thetas)} losses in torch.float64, found {values.dtype} of shape {tuple(values.shape)}: "
            "g is far below the rounding of float32"
        )
    check_losses(values, "candidate update")
    losses: list[float] = values.tolist()
    return losses
