"""Layer-wise barriers written out, and where they are known."""

import pytest
import torch

from lmc_lab.landscape.hull import Evaluation
from lmc_lab.landscape.layers import layer_barriers, layers_of, with_layer_averaged, with_layer_moved
from lmc_lab.landscape.parameters import ParameterLayout

P, D = 3, 7
LAYERS = [slice(0, 2), slice(2, 3), slice(3, 7)]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def evaluator(loss):
    return lambda thetas, _: Evaluation(loss(thetas), None)


def test_a_layer_is_what_parameters_of_one_module_are():
    tensors = {
        "model.0.weight": normal(2, 3), "model.0.bias": normal(2), "model.1.scale": normal(4), "temperature": normal(1)
    }  # fmt: skip
    layout = ParameterLayout.of(tensors)
    assert layers_of(layout) == {"model.0": slice(0, 8), "model.1": slice(8, 12), "": slice(12, 13)}


def test_barriers_are_those_of_the_definition():
    weights, ends = normal(D, D, seed=1), normal(P, D)

    def loss(thetas):
        return ((thetas @ weights).sin() * thetas).sum(dim=1)

    found = layer_barriers(evaluator(loss), ends, LAYERS, seed=0)
    for number, layer in enumerate(LAYERS):
        for i in range(P):
            for j in range(i):
                first, second = ends[i].clone(), ends[j].clone()
                first[layer] = second[layer] = (ends[i][layer] + ends[j][layer]) / 2
                expected = (loss(first[None]) + loss(second[None]) - loss(ends[i][None]) - loss(ends[j][None])) / 2
                assert float(found.averaged[number, i, j]) == pytest.approx(float(expected))
    assert torch.equal(found.averaged, found.averaged.mT) and torch.equal(found.moved, found.moved.mT)
    assert (found.averaged.diagonal(dim1=1, dim2=2) == 0).all() and not torch.allclose(found.averaged, found.moved)


def test_a_quadratic_loss_has_known_barriers():
    """Of |theta|^2 / 2 the mean of a layer costs -|d|^2 / 8, where d is the difference in that layer."""
    ends = normal(P, D)
    found = layer_barriers(evaluator(lambda thetas: thetas.square().sum(dim=1) / 2), ends, LAYERS, seed=3)
    for number, layer in enumerate(LAYERS):
        squares = (ends[:, None, layer] - ends[:, layer]).square().sum(dim=2)
        torch.testing.assert_close(found.averaged[number], -squares / 8)


def test_a_random_move_is_as_far_as_the_mean_and_stays_in_its_layer():
    first, second = normal(2, D)
    averaged, moved = with_layer_averaged(first, second, LAYERS[2]), with_layer_moved(first, second, LAYERS[2], seed=5)
    assert float((moved - first).norm()) == pytest.approx(float((averaged - first).norm()))
    assert torch.equal(moved[:3], first[:3]) and torch.equal(averaged[:3], first[:3])
    assert not torch.equal(moved, with_layer_moved(first, second, LAYERS[2], seed=6))
    torch.testing.assert_close(averaged[3:], (first + second)[3:] / 2)


def test_a_layer_that_is_the_same_in_all_has_none():
    ends = normal(P, D)
    ends[:, LAYERS[0]] = ends[0, LAYERS[0]]
    found = layer_barriers(evaluator(lambda thetas: thetas.pow(4).sum(dim=1)), ends, LAYERS, seed=0)
    assert (found.averaged[0] == 0).all() and (found.moved[0] == 0).all()
