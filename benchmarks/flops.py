"""How fast a core is, and how much arithmetic a model takes."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import wall

_SIDE = 2048


def gemm_seconds_per_flop() -> float:
    """Returns the time of one floating-point operation in a large float32 matrix product, best of three, one thread."""
    left, right = torch.rand(2, _SIDE, _SIDE)
    product = torch.empty(_SIDE, _SIDE)
    return min(wall(lambda: torch.mm(left, right, out=product)) for _ in range(3)) / (2 * _SIDE**3)


@torch.no_grad()
def flops_per_example(model: nn.Module, inputs: Tensor) -> float:
    """Returns the floating-point operations, two a multiply-add, of the model's products on one of the `inputs` (B, ...)."""
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    return float(counter.get_total_flops()) / len(inputs)
