import torch

from lmc_lab.landscape.parameters import ParameterLayout


def test_unflatten_undoes_flatten_for_one_point_and_for_many():
    tensors = {"weight": torch.randn(3, 2, 4), "bias": torch.randn(3), "scale": torch.randn(())}
    layout = ParameterLayout.of(tensors)
    theta = layout.flatten(tensors)
    assert theta.shape == (layout.dimension,) == (28,)
    assert all(torch.equal(value, tensors[name]) for name, value in layout.unflatten(theta).items())
    many = layout.unflatten(torch.stack([theta, 2 * theta]))
    assert all(torch.equal(value[1], 2 * tensors[name]) for name, value in many.items())
    assert torch.equal(layout.flatten(many)[1], 2 * theta)


def test_what_no_gradient_has_reached_does_not_vary():
    layout = ParameterLayout.of({"trained": torch.zeros(2, 2), "frozen": torch.zeros(3), "scale": torch.zeros(())})
    theta = torch.arange(8.0)
    thetas = torch.stack([theta, theta, theta])
    assert not layout.varying(thetas).any()
    thetas[1, 2] += 1e-6  # one number of a tensor is enough
    thetas[2, 7] = 0
    assert layout.varying(thetas).tolist() == [True] * 4 + [False] * 3 + [True]
