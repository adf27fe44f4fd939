import pytest
import torch

from lmc_lab.landscape.finite import NotFinite
from lmc_lab.landscape.hull import Evaluation
from lmc_lab.landscape.lines import probe_lines, probe_spokes

ENDPOINTS = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def evaluator(loss, accuracy=None):
    return lambda thetas, mixture: Evaluation(loss(thetas), None if accuracy is None else accuracy(mixture))


def test_a_parabola_that_opens_down_stands_above_the_chord_by_an_eighth_of_the_squared_distance():
    lines = probe_lines(evaluator(lambda thetas: -0.5 * thetas.square().sum(1)), ENDPOINTS, num_points=5)
    assert list(lines) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for (first, second), line in lines.items():
        distance = (ENDPOINTS[first] - ENDPOINTS[second]).norm()
        assert line.loss.barrier == pytest.approx(float(distance) ** 2 / 8)
        assert line.error is None and list(line.levels) == ["loss"]


def test_the_error_is_what_the_accuracy_leaves_and_the_mixture_names_the_ends():
    lines = probe_lines(evaluator(lambda thetas: thetas.sum(1), lambda mixture: mixture[:, 2]), ENDPOINTS, num_points=3)
    assert lines[0, 2].levels["error"].values.tolist() == [1, 0.5, 0]
    assert lines[1, 2].error.values.tolist() == [1, 0.5, 0]
    assert lines[0, 1].error.values.tolist() == [1, 1, 1]
    assert lines[0, 1].loss.barrier == pytest.approx(0, abs=1e-12)


def test_no_number_makes_no_line():
    def loss(thetas):
        return torch.where(torch.isin(thetas[:, 0], ENDPOINTS[:, 0]), 0.0, torch.nan).double()

    with pytest.raises(NotFinite, match="found nan at point between 0"):
        probe_lines(evaluator(loss), ENDPOINTS, num_points=3)
    with pytest.raises(NotFinite, match="found inf at endpoint 0"):
        probe_lines(evaluator(lambda thetas: thetas.sum(1) * torch.inf), ENDPOINTS.abs(), num_points=3)


def test_spokes_are_the_lines_from_a_mixture_to_an_endpoint():
    ends = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hubs = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0]], dtype=torch.float64)
    spokes = [(0, 1), (1, 3), (0, 0)]

    def loss(thetas):
        return thetas.sin().sum(dim=1)

    seen = []

    def evaluate(thetas, coefficients):
        torch.testing.assert_close(coefficients @ ends, thetas)
        seen.append(len(thetas))
        return Evaluation(loss(thetas), None)

    found = probe_spokes(evaluate, ends, hubs, spokes, num_points=5)
    assert sum(seen) == 4 + 2 + 3 * 3  # each end once
    for (hub, end), line in zip(spokes, found, strict=True):
        start = hubs[hub] @ ends
        points = torch.stack([start + t * (ends[end] - start) for t in (0, 0.25, 0.5, 0.75, 1)])
        torch.testing.assert_close(line.loss.values, loss(points))
        assert line.error is None
