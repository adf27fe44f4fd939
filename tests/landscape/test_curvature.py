from collections.abc import Callable, Iterator
from math import isnan

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from landscape.slow_references import dense_hessian
from lmc_lab.landscape.curvature import NotSymmetric, PartialLoss, hessian_product, lanczos_extremes, power_extremes
from lmc_lab.landscape.parameters import ParameterLayout


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def symmetric(eigenvalues: Tensor) -> Tensor:
    rotation = torch.linalg.qr(normal(len(eigenvalues), len(eigenvalues))).Q
    return rotation * eigenvalues @ rotation.T


SPECTRA = {
    "positive": torch.linspace(0.1, 5, 60, dtype=torch.float64),
    "lambda_min is the larger": torch.linspace(-9, 2, 60, dtype=torch.float64),
    "all negative": torch.linspace(-5, -1, 60, dtype=torch.float64),
    "like a network's": torch.cat([torch.linspace(-1e-4, 1e-4, 50), torch.tensor([-0.005, 0.1, 0.5, 1.0])]).double(),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("find_extremes", [lanczos_extremes, power_extremes])
def test_both_ends_of_a_known_spectrum(find_extremes: Callable, name: str) -> None:
    H = symmetric(SPECTRA[name])
    ends = find_extremes(lambda v: H @ v, len(H), generator=rng(), max_products=4000, tolerance=1e-4)
    low, high = float(SPECTRA[name].min()), float(SPECTRA[name].max())
    assert ends.is_converged
    assert ends.lambda_min == pytest.approx(low, rel=1e-4)
    assert ends.lambda_max == pytest.approx(high, rel=1e-4)
    assert ends.ratio == pytest.approx(low / high, rel=1e-4)
    scale = max(-low, high)
    assert abs(ends.lambda_min - low) <= ends.residual_min * scale + 1e-12
    assert abs(ends.lambda_max - high) <= ends.residual_max * scale + 1e-12


def test_a_small_end_does_not_pass_because_the_other_is_large() -> None:
    bulk = 0.01 * normal(2000)
    eigenvalues = torch.cat([bulk, torch.linspace(10, 100, 10), torch.tensor([-0.5])]).double()
    ends = lanczos_extremes(lambda v: eigenvalues * v, len(eigenvalues), generator=rng(), tolerance=1e-3)
    assert ends.is_converged
    assert ends.ratio == pytest.approx(-0.005, rel=1e-4)


def test_too_few_products_are_said_to_be_too_few() -> None:
    H = symmetric(SPECTRA["positive"])
    for find_extremes in (lanczos_extremes, power_extremes):
        ends = find_extremes(lambda v: H @ v, len(H), generator=rng(), max_products=4)
        assert not ends.is_converged
        assert ends.num_products == 4
        assert max(ends.residual_min, ends.residual_max) > 1e-3


def test_power_iteration_admits_that_opposite_ends_of_one_size_stop_it() -> None:
    H = symmetric(torch.linspace(-1, 1, 20, dtype=torch.float64))
    product = lambda v: H @ v  # noqa: E731
    assert not power_extremes(product, 20, generator=rng(), max_products=200).is_converged
    assert lanczos_extremes(product, 20, generator=rng()).ratio == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize(
    ("eigenvalues", "num_products"),
    [([3.0], 1), ([2.0, 2.0, 2.0, 2.0], 1), ([-1.0, -1.0, 4.0, 4.0, 4.0], 2), ([0.0] * 6, 1), ([0.0] * 9 + [1.0], 2)],
)
def test_an_invariant_subspace_ends_the_run(eigenvalues: list[float], num_products: int) -> None:
    H = symmetric(torch.tensor(eigenvalues, dtype=torch.float64))
    ends = lanczos_extremes(lambda v: H @ v, len(H), generator=rng(), tolerance=1e-9)
    assert ends.num_products == num_products
    assert ends.is_converged
    assert (ends.lambda_min, ends.lambda_max) == pytest.approx((min(eigenvalues), max(eigenvalues)), abs=1e-12)


def test_the_whole_space_is_an_invariant_subspace() -> None:
    H = symmetric(torch.tensor([-3.0, -1, 0, 0.5, 7], dtype=torch.float64))
    ends = lanczos_extremes(lambda v: H @ v, 5, generator=rng(), max_products=100, tolerance=1e-12)
    assert ends.num_products == 5
    assert ends.is_converged
    assert ends.ratio == pytest.approx(-3 / 7, rel=1e-12)


def test_of_the_zero_matrix_the_ratio_is_nan() -> None:
    for find_extremes in (lanczos_extremes, power_extremes):
        ends = find_extremes(torch.zeros_like, 7, generator=rng())
        assert ends.is_converged
        assert isnan(ends.ratio)


def test_full_reorthogonalisation_keeps_a_float32_run_right() -> None:
    eigenvalues = torch.cat([torch.linspace(-0.01, 0.01, 300), torch.tensor([-0.1, 1.0])])
    ends = lanczos_extremes(
        lambda v: eigenvalues * v, 302, generator=rng(), max_products=302, tolerance=1e-5, dtype=torch.float32
    )
    assert ends.is_converged
    assert ends.ratio == pytest.approx(-0.1, rel=1e-5)


def test_the_same_generator_gives_the_same_numbers() -> None:
    H = symmetric(SPECTRA["positive"])
    runs = [lanczos_extremes(lambda v: H @ v, len(H), generator=rng(3), max_products=9) for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("find_extremes", [lanczos_extremes, power_extremes])
def test_what_cannot_be_done_is_refused(find_extremes: Callable) -> None:
    with pytest.raises(ValueError, match="finite"):
        find_extremes(lambda v: v * float("nan"), 5, generator=rng())
    with pytest.raises(ValueError, match="D = 0"):
        find_extremes(lambda v: v, 0, generator=rng())
    with pytest.raises(ValueError, match="max_products"):
        find_extremes(lambda v: v, 5, generator=rng(), max_products=0)


# Three losses as sums over examples: (rows of inputs, targets, theta) -> contribution of these rows.


def linear_regression(x: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    return 0.5 * (x @ theta[: x.shape[1]] - y).square().sum()


def logistic_regression(x: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(x @ theta[: x.shape[1]], (y > 0).to(x), reduction="sum")


def mlp_368(x: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    """8 -> 16 -> 12 -> 1, tanh: 8*16 + 16 + 16*12 + 12 + 12 = 360, and 8 parameters that do nothing."""
    w1, b1, w2, b2, w3, _ = theta.split([128, 16, 192, 12, 12, 8])
    hidden = torch.tanh(x @ w1.view(8, 16) + b1)
    return 0.5 * (torch.tanh(hidden @ w2.view(16, 12) + b2) @ w3 - y).square().sum()


N = 40
X, Y = normal(N, 8, seed=1), normal(N, seed=2)
PROBLEMS = {linear_regression: 8, logistic_regression: 8, mlp_368: 368}


def chunks(problem: Callable[..., Tensor], size: int) -> Callable[[], Iterator[PartialLoss]]:
    def losses() -> Iterator[PartialLoss]:
        for x, y in zip(X.split(size), Y.split(size), strict=True):
            yield lambda theta, x=x, y=y: problem(x, y, theta) / N

    return losses


@pytest.mark.parametrize("problem", PROBLEMS)
def test_products_and_ends_agree_with_the_dense_hessian(problem: Callable[..., Tensor]) -> None:
    D = PROBLEMS[problem]
    theta = 0.5 * normal(D, seed=4)
    dense = dense_hessian(lambda w: problem(X, Y, w) / N, theta)
    product = hessian_product(chunks(problem, N), theta, keep_graph=True)
    v = normal(D, seed=5)
    torch.testing.assert_close(product(v), dense @ v, rtol=1e-7, atol=1e-8)
    ends = lanczos_extremes(product, D, generator=rng(), tolerance=1e-6)
    eigenvalues = torch.linalg.eigvalsh((dense + dense.T) / 2)
    assert ends.is_converged
    assert ends.num_products <= 60
    assert ends.ratio == pytest.approx(float(eigenvalues[0] / eigenvalues[-1]), rel=1e-6)


def test_closed_forms_of_linear_and_logistic_regression() -> None:
    theta, v = normal(8, seed=4), normal(8, seed=5)
    product = hessian_product(chunks(linear_regression, N), theta)
    torch.testing.assert_close(product(v), X.T @ (X @ v) / N)
    p = torch.sigmoid(X @ theta)
    product = hessian_product(chunks(logistic_regression, N), theta)
    torch.testing.assert_close(product(v), X.T @ (p * (1 - p) * (X @ v)) / N)


@pytest.mark.parametrize("keep_graph", [False, True])
def test_chunked_equals_unchunked(keep_graph: bool) -> None:
    theta, v = 0.5 * normal(368, seed=4), normal(368, seed=5)
    whole = hessian_product(chunks(mlp_368, N), theta)
    for size in (7, 20):
        product = hessian_product(chunks(mlp_368, size), theta, keep_graph=keep_graph)
        for vector in (v, 2 * v):
            torch.testing.assert_close(product(vector), whole(vector), rtol=1e-12, atol=1e-14)


def test_the_point_is_neither_kept_nor_changed() -> None:
    theta, v = normal(8), normal(8, seed=1)
    product = hessian_product(chunks(logistic_regression, N), theta)
    before = product(v)
    theta += 1
    assert not theta.requires_grad
    assert not before.requires_grad
    assert torch.equal(product(v), before)


def test_products_work_under_no_grad_and_keep_the_points_dtype() -> None:
    quartic = [lambda theta: theta.pow(4).sum()]
    with torch.no_grad():
        result = hessian_product(lambda: quartic, torch.ones(3))(torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(result, torch.full((3,), 12.0))


def test_linear_chunks_add_nothing() -> None:
    losses = [lambda theta: theta.sum(), lambda theta: theta[0].square(), lambda theta: theta[1] * 3]
    torch.testing.assert_close(hessian_product(lambda: losses, torch.ones(2))(torch.ones(2)), torch.tensor([2.0, 0.0]))


def test_a_loss_without_gradient_is_refused() -> None:
    with pytest.raises(ValueError, match="without gradient"):
        hessian_product(lambda: [lambda theta: theta.detach().sum()], torch.ones(2), keep_graph=True)


@pytest.mark.filterwarnings("ignore")
def test_curvlinops_agrees() -> None:
    """A product with a small classifier's Hessian, by another library; where that is installed."""
    curvlinops = pytest.importorskip("curvlinops")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    targets = torch.randint(3, (N,))
    parameters = dict(model.named_parameters())
    layout = ParameterLayout.of(parameters)

    def losses() -> Iterator[PartialLoss]:
        yield lambda theta: F.cross_entropy(functional_call(model, layout.unflatten(theta), (X,)), targets)

    ours = hessian_product(losses, layout.flatten({name: value.detach() for name, value in parameters.items()}))
    theirs = curvlinops.HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(parameters.values()), [(X, targets)], check_deterministic=False
    )
    v = normal(len(layout.flatten(parameters)), seed=6)
    torch.testing.assert_close(ours(v), theirs @ v)


def test_products_of_a_matrix_that_is_not_symmetric_are_refused():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    with pytest.raises(NotSymmetric, match="expected a symmetric Hessian, found"):
        lanczos_extremes(lambda vector: matrix @ vector, 30, generator=generator)
    symmetric = matrix + matrix.T
    noisy = (symmetric + 1e-4 * torch.randn(30, 30, generator=generator)).float()  # worse than float32
    found = lanczos_extremes(lambda vector: noisy @ vector.float(), 30, generator=generator, tolerance=0.01)
    assert found.lambda_max == pytest.approx(torch.linalg.eigvalsh(symmetric)[-1].item(), rel=1e-3)
