"""How fast a core is, and how much arithmetic a model takes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import wall

_SIDE = 2048


@torch.no_grad()
def gemm_seconds_per_flop() -> float:
    """Returns the time of one floating-point operation in a large float32 matrix product on one thread.

    It is the best of three products of each of torch's two libraries: on an AMD core with AVX-512, oneDNN takes half the
    time of MKL.
    """
    left, right = torch.rand(2, _SIDE, _SIDE)
    product = torch.empty(_SIDE, _SIDE)
    products: list[Callable[[], object]] = [lambda: torch.mm(left, right, out=product)]
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # oneDNN under its old name
        left_of_onednn, right_of_onednn = left.to_mkldnn(), right.to_mkldnn()
        products.append(lambda: F.linear(left_of_onednn, right_of_onednn))
    return min(wall(multiply) for multiply in products * 3) / (2 * _SIDE**3)


@torch.no_grad()
def flops_per_example(model: nn.Module, inputs: Tensor) -> float:
    """Returns the floating-point operations, two a multiply-add, of the model's products on one of the `inputs` (B, ...)."""
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    return float(counter.get_total_flops()) / len(inputs)
