"""Does the tangent kernel settle? Kernels of a model on some examples, and how far two of them are apart.

With J(x) the Jacobian (O, D) of the O outputs on an example x in the D parameters, the kernel on n examples is

    K_ij = <J(x_i), J(x_j)> = sum over outputs o and parameters d of J(x_i)_od J(x_j)_od,

n x n, positive semidefinite: the tangent kernel summed over outputs, as neural-tangents has it by default (`trace_axes=(-1,)`
of its `empirical_ntk_fn`, a mean where this is a sum). The distance of two kernels is one less their cosine,

    S(K, K') = 1 - <K, K'> / (|K| |K'|),  norms and products those of Frobenius,

from 0 to 1, and does not change with the scale of either. The kernel's velocity is S(K_t, K_{t+dt}) / dt (Fort et al. 2020,
arXiv 2010.15110, with dt = 0.4 epochs; Zhou et al. 2025, arXiv 2505.13900, have S at several dt along one run). A model that is
linear in its parameters has one kernel everywhere. Neurons may change places without a change of K.

Shapes: n examples, O outputs, D parameters, m kernels.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Gradients = Callable[[slice, int], Tensor]  # of output o on the examples at a slice -> (b, D)


def tangent_kernel(gradients: Gradients, num_examples: int, num_outputs: int, *, block: int) -> Tensor:
    """Returns K (n, n), summed over outputs in float64, on the CPU.

    In memory are the gradients of one output on 2 `block` examples at a time. Of q blocks each is computed (q + 1) / 2 times on
    average.

    Args:
        gradients: of one output on some of the examples.
        num_examples: n.
        num_outputs: O.
        block: examples.
    """
    blocks = [slice(start, min(start + block, num_examples)) for start in range(0, num_examples, block)]
    kernel = torch.zeros(num_examples, num_examples, dtype=torch.float64)
    for output in range(num_outputs):
        for rows, columns, part in _products(gradients, blocks, output):
            kernel[rows, columns] += part.cpu()
            if rows != columns:
                kernel[columns, rows] += part.T.cpu()
    return kernel


def _products(gradients: Gradients, blocks: list[slice], output: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yields the products of one output's gradients for each two blocks, the second not before the first."""
    for number, rows in enumerate(blocks):
        of_rows = gradients(rows, output)
        yield rows, rows, of_rows @ of_rows.T
        for columns in blocks[number + 1 :]:
            yield rows, columns, of_rows @ gradients(columns, output).T


def kernel_distances(first: Tensor, second: Tensor) -> Tensor:
    """Returns S between each of `first` (m, n, n) and each of `second` (m', n, n), float64 (m, m').

    As half the squared distance of the kernels at norm 1, in which nothing cancels: equal kernels have exactly 0. A kernel that
    is zero has NaN.
    """
    ones, others = _to_norm_1(first), _to_norm_1(second)
    return torch.stack([(others - kernel).square().sum(dim=(1, 2)) / 2 for kernel in ones])


def distances_without_each(first: Tensor, second: Tensor) -> Tensor:
    """Returns S of two kernels (n, n) on all examples but one, for each that is left out, float64 (n,)."""
    first, second = first.double(), second.double()
    norms = _sums_without_each(first, first) * _sums_without_each(second, second)
    return 1 - _sums_without_each(first, second) / norms.sqrt()


def _sums_without_each(first: Tensor, second: Tensor) -> Tensor:
    """Returns <K, K'> without the row and the column of each example, (n,)."""
    products = first * second
    return products.sum() - 2 * products.sum(dim=1) + products.diagonal()


def _to_norm_1(kernels: Tensor) -> Tensor:
    kernels = kernels.double()
    return kernels / torch.linalg.matrix_norm(kernels, keepdim=True)
