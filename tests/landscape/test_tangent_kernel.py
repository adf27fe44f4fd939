"""Kernels of Jacobians that are known, in blocks of any size, and their distances where these are known."""

import math

import pytest
import torch

from lmc_lab.landscape.tangent_kernel import distances_without_each, kernel_distances, tangent_kernel


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kernel_of(jacobian, block=3):
    """The kernel of a Jacobian (n, O, D) that is known."""
    return tangent_kernel(lambda rows, output: jacobian[rows, output], *jacobian.shape[:2], block=block)


def kernels(m=4, n=6):
    return torch.stack([kernel_of(drawn(n, 2, 5, seed=seed)) for seed in range(m)])


@pytest.mark.parametrize("block", [1, 2, 3, 5, 7, 100])
def test_a_kernel_is_the_products_of_jacobians_whatever_the_blocks(block):
    jacobian = drawn(7, 3, 11)
    expected = torch.einsum("iod,jod->ij", jacobian, jacobian)
    torch.testing.assert_close(kernel_of(jacobian, block), expected, rtol=1e-13, atol=0)


def test_a_model_that_is_linear_in_its_parameters_has_the_products_of_its_inputs():
    """f(x) = W x + b with O outputs has K = O (<x, x'> + 1), at any W and b."""
    inputs, outputs = drawn(6, 4), 3
    row = torch.cat([inputs, torch.ones(6, 1, dtype=torch.float64)], dim=1)  # d f_o / d (W_o, b_o)
    jacobian = torch.stack([torch.kron(torch.eye(outputs).double()[o], row) for o in range(outputs)], dim=1)
    torch.testing.assert_close(kernel_of(jacobian), outputs * (inputs @ inputs.T + 1), rtol=1e-13, atol=1e-13)


def test_distances_are_those_of_the_formula():
    found = kernels()
    for i, first in enumerate(found):
        for j, second in enumerate(found):
            norms = (torch.trace(first @ first.T) * torch.trace(second @ second.T)).sqrt()
            expected = 1 - torch.trace(first @ second.T) / norms
            torch.testing.assert_close(kernel_distances(found, found)[i, j], expected, rtol=0, atol=1e-14)


def test_equal_kernels_are_no_distance_apart_and_scale_is_not_seen():
    found = kernels()
    distances = kernel_distances(found, found)
    assert not distances.diagonal().any()
    assert distances[0, 1] > 0.01
    torch.testing.assert_close(kernel_distances(1e-9 * found, 7 * found), distances, rtol=0, atol=1e-14)


def test_kernels_of_different_examples_are_as_far_apart_as_can_be_and_those_of_an_angle_have_its_cosine():
    first, second = torch.diag(torch.tensor([1.0, 0.0])), torch.diag(torch.tensor([0.0, 2.0]))
    assert float(kernel_distances(first[None], second[None])) == 1
    turned = math.cos(0.3) * first + math.sin(0.3) * second / 2
    assert float(kernel_distances(first[None], turned[None])) == pytest.approx(1 - math.cos(0.3), abs=1e-7)


def test_a_distance_far_below_rounding_of_the_cosine_is_seen():
    first = torch.diag(torch.ones(2, dtype=torch.float64))
    second = torch.diag(torch.tensor([1, 1 + 2e-9], dtype=torch.float64))
    assert float(kernel_distances(first[None], second[None])) == pytest.approx(5e-19, rel=1e-6)


def test_a_kernel_that_is_zero_has_no_distance():
    assert kernel_distances(torch.zeros(1, 2, 2), torch.ones(1, 2, 2)).isnan().all()


def test_examples_are_left_out_one_at_a_time():
    first, second, *_ = kernels(2, 6)
    found = distances_without_each(first, second)
    for left_out in range(6):
        kept = [i for i in range(6) if i != left_out]
        expected = kernel_distances(first[kept][:, kept][None], second[kept][:, kept][None])
        torch.testing.assert_close(found[left_out], expected[0, 0], rtol=0, atol=1e-14)
