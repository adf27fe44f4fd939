"""What `task.precision` means for a training step: what Lightning's plugins do, for steps that are taken without Lightning."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from lmc_lab.errors import UserError, nearest
from lmc_lab.inputs import Inputs, each
from lmc_lab.tasks.arithmetic import float32_products

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Precision:
    """The types of numbers in a training step.

    Args:
        lightning: what Lightning calls it.
        weights: of parameters, buffers and inputs; None for what they are.
        autocast: of products inside an autocast, if there is one.
        tf32: products of float32 may have factors that are rounded to TF32, on a GPU.
    """

    lightning: str
    weights: torch.dtype | None = None
    autocast: torch.dtype | None = None
    tf32: bool = False

    def convert(self, given: Inputs) -> Inputs:
        """Returns inputs or targets as a step takes them; whole numbers stay whole."""
        return each(lambda tensor: tensor.to(self.weights) if tensor.is_floating_point() else tensor, given)

    def convert_module(self, module: Module) -> Module:
        """Returns the module with its tensors as they are trained."""
        return module.to(self.weights)

    def products(self, *, deterministic: bool = True) -> AbstractContextManager[None]:
        """Returns the context in which steps are taken: float32 means float32, unless the task says TF32."""
        return float32_products(tf32=self.tf32, deterministic=deterministic)

    @contextmanager
    def forward(self, device_type: str = "cpu") -> Iterator[None]:
        """Computes a training loss as Lightning's plugins do, in the type of the weights or in an autocast."""
        default = torch.get_default_dtype()
        try:
            torch.set_default_dtype(self.weights or default)
            with torch.autocast(device_type, self.autocast, enabled=self.autocast is not None, cache_enabled=False):
                yield
        finally:
            torch.set_default_dtype(default)


_PRECISIONS = {
    "64-true": Precision("64-true", torch.float64),
    "32-true": Precision("32-true"),
    "tf32": Precision("32-true", tf32=True),
    "bf16-true": Precision("bf16-true", torch.bfloat16),
    "16-true": Precision("16-true", torch.float16),
    "bf16-mixed": Precision("bf16-mixed", autocast=torch.bfloat16),
}
_OTHER_NAMES = {
    "64": "64-true", "double": "64-true", "float64": "64-true", "fp64": "64-true",
    "32": "32-true", "float": "32-true", "float32": "32-true", "fp32": "32-true",
    "16": "16-true", "half": "16-true", "float16": "16-true", "fp16": "16-true",
}  # fmt: skip


def precision_of(name: str) -> Precision:
    """Returns the precision that `task.precision` names.

    Raises:
        UserError: it names none in which a run can be trained and measured.
    """
    if name in _PRECISIONS:
        return _PRECISIONS[name]
    if str(name) == "16-mixed":
        raise UserError(
            "expected task.precision to train every step, found 16-mixed, whose scaling of the loss leaves steps out; "
            "set it to bf16-mixed"
        )
    meant = _OTHER_NAMES.get(str(name))
    what_to_do = f"did you mean '{meant}'?" if meant else nearest(str(name), _PRECISIONS)
    raise UserError(f"expected task.precision to be one of {', '.join(_PRECISIONS)}, found '{name}'; {what_to_do}")
