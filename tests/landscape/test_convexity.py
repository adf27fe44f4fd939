from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from landscape.slow_references import gap_of_appendix_b
from lmc_lab.landscape.convexity import midpoint_gap

D = 30


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(num_examples: int) -> Callable[[Tensor], Tensor]:
    """Mean loss of a small tanh network: 4 -> 6 -> 1 with D = 30 parameters."""
    x, y = normal(num_examples, 4, seed=1), normal(num_examples, seed=2)
    return lambda w: (torch.tanh(x @ w[:24].view(4, 6)) @ w[24:] - y).square().mean()


def each(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The losses of several points."""
    return lambda thetas: torch.stack([loss(theta) for theta in thetas])


@pytest.mark.parametrize("seed", range(5))
def test_of_a_quadratic_it_is_minus_an_eighth_of_the_curvature(seed: int) -> None:
    H = normal(D, D)
    H = H + H.T
    a, b = normal(D, seed=seed), normal(D, seed=seed + 100)
    gap = midpoint_gap(each(lambda w: 0.5 * w @ H @ w), a, b)
    assert gap.value == pytest.approx(float(-(b - a) @ H @ (b - a) / 8), rel=1e-12)
    assert gap.is_resolved


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_formula_of_appendix_b(seed: int) -> None:
    loss = network(50)
    w, dw_1, dw_2 = (scale * normal(D, seed=seed + i) for i, scale in enumerate((1, 0.1, 0.1)))
    gap = midpoint_gap(each(loss), w + dw_1, w + dw_2)
    assert gap.value == pytest.approx(gap_of_appendix_b(lambda v: float(loss(v)), w, dw_1, dw_2), rel=1e-9)
    assert gap.value == pytest.approx(gap.loss_midpoint - (gap.loss_a + gap.loss_b) / 2, rel=1e-9)


def test_equal_points_and_linear_losses_have_no_gap() -> None:
    a, b = normal(D), normal(D, seed=1)
    assert midpoint_gap(each(network(10)), a, a).value == 0
    gaps = [midpoint_gap(each(network(10)), a, a), midpoint_gap(each(lambda w: w.sum()), a.abs(), b.abs())]
    assert not any(gap.is_resolved for gap in gaps)


@pytest.mark.parametrize("num_examples", [64, 5000])
def test_what_is_called_resolved_has_the_right_sign(num_examples: int) -> None:
    loss, w = network(num_examples), normal(D)
    resolved = 0
    for seed in range(20):
        d = normal(D, seed=10 + seed)
        curvature = torch.autograd.functional.vhp(loss, w, d)[1] @ d
        for scale in (1e-9, 1e-8, 1e-7, 1e-6, 1e-5):
            gap = midpoint_gap(each(loss), w - scale / 2 * d, w + scale / 2 * d, num_examples=num_examples)
            expected = float(-(scale**2) * curvature / 8)
            assert abs(gap.value - expected) <= gap.resolution + 1e-3 * abs(expected)
            assert not gap.is_resolved or gap.value * expected > 0
            resolved += gap.is_resolved
    assert 20 <= resolved < 100


def test_near_zero_cross_entropy_rounding_is_that_of_the_logits() -> None:
    x = normal(500, 10)
    targets = (x @ normal(10, 3, seed=1)).argmax(dim=1)
    w = 20 * normal(10, 3, seed=1).flatten()
    loss = lambda v: torch.nn.functional.cross_entropy(x @ v.view(10, 3), targets)  # noqa: E731
    # The same margins whatever is added to all three logits, so these two points have no gap between them.
    shift = 1e-3 * normal(10, 1, seed=2).expand(10, 3).flatten()
    gap = midpoint_gap(each(loss), w - shift, w + shift, num_examples=500)
    assert gap.loss_midpoint < 0.05
    assert not gap.is_resolved
    assert gap.resolution < 1e-13


def test_float32_points_are_evaluated_in_float64() -> None:
    a, b = torch.ones(D), torch.ones(D) + 1e-6
    seen = []
    gap = midpoint_gap(each(lambda w: seen.append(w) or w.square().sum()), a, b)
    assert [w.dtype for w in seen] == [torch.float64] * 3
    assert gap.value == pytest.approx(-float((b - a).double().square().sum()) / 4, rel=1e-3)


def test_a_float32_loss_or_points_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="float64"):
        midpoint_gap(each(lambda w: w.float().sum()), torch.ones(3), torch.ones(3))
    with pytest.raises(ValueError, match="one shape"):
        midpoint_gap(each(lambda w: w.sum()), torch.ones(3), torch.ones(1))
    with pytest.raises(ValueError, match="expected 3 losses"):
        midpoint_gap(lambda w: w.sum(), torch.ones(3), torch.ones(3))
