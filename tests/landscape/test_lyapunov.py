"""Exponents of quadratics in closed form, and a small network beside the Jacobians of torch's own steps."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from lmc_lab.landscape.finite import NotFinite
from lmc_lab.landscape.lyapunov import SGDStep, growth

LR = 0.3


def step_of(size, *, lr=LR, momentum=0.0, weight_decay=0.0, nesterov=False):
    settings = (lr, momentum, weight_decay, float(nesterov))
    return SGDStep(*(torch.full((size,), value, dtype=torch.float64) for value in settings))


def matrix_of(hessian, *, momentum, weight_decay, nesterov):
    """The step of SGD on a quadratic as a matrix of (theta, v), written out: g = (H + wd) theta."""
    curvature = hessian + weight_decay * torch.eye(len(hessian), dtype=torch.float64)
    eye = torch.eye(len(hessian), dtype=torch.float64)
    velocity = torch.cat([curvature, momentum * eye], dim=1)
    moved = momentum * velocity + torch.cat([curvature, 0 * eye], dim=1) if nesterov else velocity
    return torch.cat([torch.cat([eye, 0 * eye], dim=1) - LR * moved, velocity if momentum else 0 * velocity])


def random_directions(m, size):
    return torch.randn(m, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("momentum", "weight_decay", "nesterov"),
    [*product((0.0, 0.5, 0.9), (0.0, 0.1), (False,)), (0.5, 0.1, True), (0.9, 0.0, True)],
)
@pytest.mark.parametrize("scale", [1.0, 9.0])  # without momentum, 0.3 * 9 > 2 diverges
def test_the_exponent_of_a_quadratic_is_the_log_of_the_spectral_radius(momentum, weight_decay, nesterov, scale):
    eigenvalues = scale * torch.tensor([-0.5, 0.1, 0.4, 1.0], dtype=torch.float64)
    rotation, _ = torch.linalg.qr(random_directions(4, 4))
    hessian = rotation @ eigenvalues.diag() @ rotation.T
    settings = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
    expected = math.log(float(torch.linalg.eigvals(matrix_of(hessian, **settings)).abs().max()))
    steps = [(step_of(4, **settings), lambda u: u @ hessian)] * 600
    found = growth(steps, random_directions(3, 4))
    torch.testing.assert_close(found.exponents(300), torch.full((3,), expected, dtype=torch.float64), rtol=0, atol=1e-8)
    # In theta alone the same rate is reached, but for what is lost before the direction has turned.
    torch.testing.assert_close(
        found.rates_of_theta(), torch.full((3,), expected, dtype=torch.float64), rtol=0, atol=0.02
    )


def test_a_rotation_in_phase_space_has_the_exponent_of_its_radius():
    """With momentum 0.9 a quadratic oscillates: both eigenvalues are complex, of radius sqrt(0.9)."""
    steps = [(step_of(1, momentum=0.9), lambda u: u)] * 2000
    found = growth(steps, torch.ones(1, 1, dtype=torch.float64)).exponents(0)
    assert float(found) == pytest.approx(math.log(0.9) / 2, abs=2e-3)


@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": 0.9}, {"momentum": 0.8, "weight_decay": 0.05}, {"momentum": 0.8, "nesterov": True}],
    ids=str,
)
def test_growth_is_that_of_the_jacobians_of_torchs_own_steps(settings):
    """A network of 17 parameters, each Jacobian by central differences of `torch.optim.SGD` on (theta, v)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    parameters = list(model.parameters())
    size = sum(parameter.numel() for parameter in parameters)
    batches = [(torch.randn(5, 2).double(), torch.randn(5, 2).double()) for _ in range(4)]

    def loss(theta, batch):
        shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        parts = torch.split(theta, [shape.numel() for shape in shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return nn.functional.mse_loss(torch.func.functional_call(model, named, (batch[0],)), batch[1])

    def step(state, batch):
        theta = nn.Parameter(state[:size].clone())
        optimizer = torch.optim.SGD([theta], lr=LR, **settings)
        if "momentum" in settings:
            optimizer.state[theta]["momentum_buffer"] = state[size:].clone()
        (theta.grad,) = torch.autograd.grad(loss(theta, batch), theta)
        optimizer.step()
        velocity = optimizer.state[theta].get("momentum_buffer")
        return torch.cat([theta.detach(), torch.zeros(size).double() if velocity is None else velocity])

    def jacobian(state, batch, h=1e-5):
        columns = [
            (step(state + h * e, batch) - step(state - h * e, batch)) / (2 * h) for e in torch.eye(2 * size).double()
        ]
        return torch.stack(columns, dim=1)

    state = torch.cat([nn.utils.parameters_to_vector(parameters).detach(), torch.zeros(size).double()])
    directions = random_directions(2, size)
    expected = torch.cat([torch.nn.functional.normalize(directions, dim=1), torch.zeros(2, size).double()], dim=1).T
    steps, lengths, of_theta = [], [], []
    for batch in batches:
        hessian = torch.autograd.functional.hessian(lambda theta, b=batch: loss(theta, b), state[:size])
        steps.append((step_of(size, **settings), lambda u, matrix=hessian: u @ matrix))
        expected = jacobian(state, batch) @ expected
        state = step(state, batch)
        lengths.append(torch.cat([expected[:size], LR * expected[size:]]).norm(dim=0).log())
        of_theta.append(expected[:size].norm(dim=0).log())
    found = growth(steps, directions)
    torch.testing.assert_close(found.whole[1:], torch.stack(lengths), rtol=0, atol=1e-8)
    torch.testing.assert_close(found.of_theta[1:], torch.stack(of_theta), rtol=0, atol=1e-8)
    assert not found.whole[0].any() and not found.of_theta[0].any()


def test_lengths_far_beyond_float32_are_followed():
    steps = [(step_of(2), lambda u: -100 * u)] * 200
    found = growth(steps, torch.ones(1, 2))
    assert float(found.whole[-1]) == pytest.approx(200 * math.log(31), rel=1e-6)


def test_what_is_no_number_is_refused():
    with pytest.raises(NotFinite, match="length of the difference"):
        growth([(step_of(2), lambda u: u * torch.nan)], torch.ones(1, 2))
