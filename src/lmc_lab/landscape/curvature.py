"""The two ends of the Hessian's spectrum and their ratio (Figure 4, top row; Appendix B).

An algorithm sees only a product v -> Hv, so that each is tested without a network.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lmc_lab.landscape.finite import NotFinite

Product = Callable[[Tensor], Tensor]  # v (D,) -> Hv (D,)
# theta (D,) -> what some of the examples add to the loss, a differentiable scalar.
PartialLoss = Callable[[Tensor], Tensor]

_ASYMMETRY = (
    0.01  # relative to the largest entry of the tridiagonal matrix; the rounding of float32 products is 1e-5 of it
)


class NoGradient(ValueError):  # noqa: N818  it says what the loss has
    """A loss that is no differentiable function of theta."""


class NotSymmetric(ValueError):  # noqa: N818  it says what the matrix is
    """The products are of no Hessian: a second derivative is wrong, or the loss is another at every call."""


@dataclass(frozen=True)
class SpectrumEnds:
    """The smallest and the largest eigenvalue, each with its residual relative to max |lambda|.

    Some eigenvalue lies within ||Hx - lambda x|| of lambda. Converged means that this is at most `tolerance` |lambda|,
    where an end below a thousandth of the other counts as a thousandth of it. Relative to max |lambda| alone the small
    end passes too soon: beside a bulk of width 1e-4, tolerance 1e-3 took -1.5e-4 for an end at -5e-3.
    """

    lambda_min: float
    lambda_max: float
    residual_min: float  # ||Hx - lambda_min x|| / max |lambda|
    residual_max: float
    num_products: int
    is_converged: bool

    @property
    def ratio(self) -> float:
        """Returns lambda_min / lambda_max, NaN where lambda_max is zero; positive also where both are negative."""
        return self.lambda_min / self.lambda_max if self.lambda_max else float("nan")


def hessian_product(losses: Callable[[], Iterable[PartialLoss]], theta: Tensor, *, keep_graph: bool = False) -> Product:
    """Returns v -> Hv of the loss at `theta` by double backward, some of the examples at a time.

    Double backward, since it is faster on the CPU than forward-over-reverse.

    Args:
        losses: yields partial losses, whose sum is the loss; called at every product, so that only the graph of one of
            them is alive at a time.
        theta: the point, (D,); its dtype and device are those of the products.
        keep_graph: `losses` is called once and the graphs of all gradients are kept: spares every product the forward
            and the first backward pass, for the memory of all graphs together.

    Raises:
        NoGradient: a partial loss carries none (at once with `keep_graph`, else in the product).
    """
    point = theta.detach().clone().requires_grad_()
    gradients_once = [_gradient(loss, point) for loss in losses()] if keep_graph else None

    def product(vector: Tensor) -> Tensor:
        direction = vector.to(point)
        gradients = gradients_once if gradients_once is not None else (_gradient(loss, point) for loss in losses())
        result = torch.zeros_like(point)
        for gradient in gradients:
            if gradient.requires_grad:  # it does not where the loss is linear
                (part,) = torch.autograd.grad(
                    gradient, point, direction, retain_graph=keep_graph, materialize_grads=True
                )
                result += part
        return result

    return product


def _gradient(loss: PartialLoss, point: Tensor) -> Tensor:
    with torch.enable_grad():
        value = loss(point)
        if not value.requires_grad:
            raise NoGradient("expected a loss differentiable in theta, found one without gradient (no_grad or detach?)")
        (gradient,) = torch.autograd.grad(value, point, create_graph=True, materialize_grads=True)
    return gradient


def lanczos_extremes(
    product: Product,
    dimension: int,
    *,
    generator: torch.Generator,
    max_products: int = 200,
    tolerance: float = 1e-3,
    dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> SpectrumEnds:
    """Returns both ends of the spectrum of a symmetric H from one Lanczos run with full reorthogonalisation.

    Without it, copies of converged eigenvalues appear (Paige 1972); two passes of Gram-Schmidt are enough (Parlett
    1998, section 6.9). Ritz values lie inside the spectrum: before it converges, an end is reported too far inside.

    Args:
        product: v (D,) -> Hv (D,).
        dimension: D.
        generator: of the starting vector.
        max_products: also the number of vectors (D,) kept in memory.
        tolerance: bound on each end's residual, see `SpectrumEnds`.
        dtype: of the basis; the recurrence is float64 in any case.
        device: of the basis; that of the generator for None.

    Raises:
        ValueError: no products allowed, or an empty space.
        NotFinite: a product is not finite.
        NotSymmetric: the products are not those of a symmetric H.
    """
    vector = _start(dimension, max_products, generator, dtype, device)
    basis = vector.new_empty(min(max_products, dimension), dimension)
    tridiagonal = torch.zeros(len(basis) + 1, len(basis) + 1, dtype=torch.float64)
    for n in range(1, len(basis) + 1):
        basis[n - 1] = vector
        image = _apply(product, vector)
        tridiagonal[n - 1, n - 1] = _inner(vector, image)
        if n > 1:
            _check_symmetry(_inner(basis[n - 2], image), tridiagonal[:n, :n])
        for _ in range(2):
            image -= basis[:n].T @ (basis[:n] @ image)
        beta = _inner(image, image) ** 0.5
        ends = _ritz_ends(tridiagonal[:n, :n], beta, tolerance)
        # Below this the next vector would be rounding: the Krylov space is invariant.
        is_invariant = beta <= 8 * torch.finfo(dtype).eps * max(abs(ends.lambda_min), abs(ends.lambda_max))
        if ends.is_converged or is_invariant:
            break
        tridiagonal[n, n - 1] = tridiagonal[n - 1, n] = beta
        vector = image / beta
    return ends


def _check_symmetry(coupling: float, tridiagonal: Tensor) -> None:
    """Refuses products of which <q_n-1, H q_n> is not <H q_n-1, q_n>: seen at each product after the first, for nothing."""
    expected, scale = float(tridiagonal[-1, -2]), float(tridiagonal.abs().max())
    if abs(coupling - expected) > _ASYMMETRY * scale:
        raise NotSymmetric(f"expected a symmetric Hessian, found {coupling:.3g} where its mirror has {expected:.3g}")


def _ritz_ends(tridiagonal: Tensor, beta: float, tolerance: float) -> SpectrumEnds:
    """Returns the ends after n = len(tridiagonal) products; a Ritz pair's residual is |beta_n s_n|."""
    values, vectors = torch.linalg.eigh(tridiagonal)
    low, high = [(float(values[i]), beta * abs(float(vectors[-1, i]))) for i in (0, -1)]
    return _spectrum_ends(low, high, len(tridiagonal), tolerance)


def power_extremes(
    product: Product,
    dimension: int,
    *,
    generator: torch.Generator,
    max_products: int = 400,
    tolerance: float = 1e-3,
    device: torch.device | None = None,
) -> SpectrumEnds:
    """Returns both ends by power iteration, the paper's method: max |lambda|, then the other end of H shifted by it.

    The first end has at most half of `max_products`, the second all that is left. It is slow where an end is not well
    apart from the rest, and where both ends are of one size the first does not converge at all.

    Raises:
        ValueError: fewer than two products allowed, or an empty space.
        NotFinite: a product is not finite.
    """
    start = _start(dimension, max_products - 1, generator, torch.float64, device)
    *first, spent = _power(product, start, 0.0, max_products // 2, tolerance)
    start = _start(dimension, max_products - 1, generator, torch.float64, device)
    *second, more = _power(product, start, first[0], max_products - spent, tolerance)
    low, high = sorted([(first[0], first[1]), (second[0], second[1])])
    return _spectrum_ends(low, high, spent + more, tolerance)


def _power(
    product: Product, vector: Tensor, shift: float, max_products: int, tolerance: float
) -> tuple[float, float, int]:
    """Returns the eigenvalue farthest from `shift` (a Rayleigh quotient), its residual, and the number of products."""
    num_products = 0
    while True:
        image = _apply(product, vector)
        num_products += 1
        value = _inner(vector, image)
        remainder = image - value * vector
        residual = _inner(remainder, remainder) ** 0.5
        if num_products == max_products or _is_small(residual, value, max(abs(value), abs(shift)), tolerance):
            return value, residual, num_products
        image -= shift * vector  # not zero, or the residual would have been
        vector = image / image.norm()


def _spectrum_ends(
    low: tuple[float, float], high: tuple[float, float], num_products: int, tolerance: float
) -> SpectrumEnds:
    scale = max(abs(low[0]), abs(high[0]))
    is_converged = all(_is_small(residual, value, scale, tolerance) for value, residual in (low, high))
    unit = scale or 1.0  # of H = 0 both residuals are zero
    return SpectrumEnds(low[0], high[0], low[1] / unit, high[1] / unit, num_products, is_converged)


def _is_small(residual: float, value: float, scale: float, tolerance: float) -> bool:
    return residual <= tolerance * max(abs(value), 1e-3 * scale)


def _start(
    dimension: int, max_products: int, generator: torch.Generator, dtype: torch.dtype, device: torch.device | None
) -> Tensor:
    if dimension < 1 or max_products < 1:
        raise ValueError(f"expected D >= 1 and enough products, found D = {dimension}, max_products too small")
    vector = torch.randn(dimension, generator=generator, device=generator.device, dtype=dtype)
    return (vector / vector.norm()).to(device or generator.device)


def _apply(product: Product, vector: Tensor) -> Tensor:
    image = product(vector).to(vector, copy=True)
    if not image.isfinite().all():
        raise NotFinite("expected finite Hessian products, found NaN or infinity", "Hessian product", 0)
    return image


def _inner(left: Tensor, right: Tensor) -> float:
    return float(left.double() @ right.double())
