"""Examples to be looked at: as they are stored, and small."""

from torch import Tensor

_LONGEST_CURVE = 4096
_LONGEST_SIDE = 64


def thumbnails(inputs: Tensor) -> Tensor:
    """Returns `inputs` (N, ...) in their own layout, with every s-th element along sides that are longer than is shown.

    Those are 4,096 elements of a curve (N, L), and 64 of each side of anything else: pictures of CIFAR-10 stay whole.
    """
    longest = _LONGEST_CURVE if inputs.dim() == 2 else _LONGEST_SIDE
    strides = (-(-size // longest) for size in inputs.shape[1:])
    return inputs[(slice(None), *(slice(None, None, stride) for stride in strides))].contiguous()
