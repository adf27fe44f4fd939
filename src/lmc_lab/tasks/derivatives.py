"""Forward passes that can be differentiated twice: fast kernels have no second derivative, or a wrong one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Computes attention and weight norm in this context from operations that can be differentiated twice.

    The fast kernels of attention have no second derivative. That of weight norm has a wrong one (torch 2.14): it takes the
    norm that the forward pass saved for a constant, and the Hessian is not even symmetric.
    """
    with sdpa_kernel(SDPBackend.MATH), _PlainWeightNorm():
        yield


class _PlainWeightNorm(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        run = _weight_norm if getattr(func, "__name__", "") == "_weight_norm" else func
        return run(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Returns g v / |v|, with a norm for each index of `dim` (one for all if -1)."""
    return v * (g / torch.norm_except_dim(v, 2, dim))
