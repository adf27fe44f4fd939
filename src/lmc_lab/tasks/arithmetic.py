"""How a GPU computes in float32: in full, or with factors rounded to TF32; and whether cuDNN may choose as it goes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.backends import cudnn

_MATMUL = torch.backends.cuda.matmul
_CONVOLUTION, _RECURRENT = cudnn.conv, cudnn.rnn  # type: ignore[attr-defined]  # the module is a class when it is imported


@contextmanager
def float32_products(*, tf32: bool = False, deterministic: bool = True) -> Iterator[None]:
    """Sets in this context how a GPU multiplies float32, and puts everything back as it was; nothing changes on a CPU.

    By default cuDNN rounds the factors of convolutions to TF32, ten bits of mantissa, which decides a strict ``<``.

    Args:
        tf32: allow it, in convolutions and in products of matrices.
        deterministic: cuDNN takes algorithms that give the same bits at each call, and none that it had to time first;
            otherwise both are as they were.
    """
    precisions = [backend.fp32_precision for backend in (_MATMUL, _CONVOLUTION, _RECURRENT)]
    chosen = cudnn.deterministic, cudnn.benchmark
    wanted = "tf32" if tf32 else "ieee"
    try:
        _set_precisions([wanted] * 3)
        if deterministic:
            cudnn.deterministic, cudnn.benchmark = True, False
        yield
    finally:
        _set_precisions(precisions)
        cudnn.deterministic, cudnn.benchmark = chosen


def _set_precisions(precisions: list[str]) -> None:
    """Sets the precisions of products, convolutions and recurrent layers, in torch's older words and in its newer ones.

    The older alone leave convolutions in TF32 where `torch.backends.fp32_precision` allows it; after the newer alone the
    older, which Lightning reads, raise errors.
    """
    _MATMUL.allow_tf32, cudnn.allow_tf32 = precisions[0] == "tf32", precisions[1] == "tf32"
    for backend, precision in zip((_MATMUL, _CONVOLUTION, _RECURRENT), precisions, strict=True):
        backend.fp32_precision = precision
