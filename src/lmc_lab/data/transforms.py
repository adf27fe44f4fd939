"""Transforms of single examples, such as those of `torchvision.transforms.v2`, as an augmentation of batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmc_lab.errors import UserError
from lmc_lab.generators import forked_generators, seed_generators_of_cpu
from lmc_lab.inputs import Inputs

Transform = Callable[[Tensor], Tensor]  # a picture (C, H, W), or an input (...), to another


@dataclass(frozen=True)
class Transforms:
    """Changes each example by itself, as it is stored: a v2 transform would change all pictures of a batch alike.

    It is done on the CPU, and all that is random follows from the generator: those of torch, numpy and Python, which transforms
    draw from, are seeded by it and then put back.
    """

    transforms: Sequence[Transform]

    def __call__(self, inputs: Inputs, generator: torch.Generator) -> Tensor:
        """Returns the changed inputs (B, ...), pictures (B, H, W, C) as they are stored.

        Raises:
            UserError: there are several inputs, or a transform changes the shape or the type.
        """
        if not isinstance(inputs, Tensor):
            raise UserError(
                f"expected one input for task.augmentation, found {', '.join(inputs)}; change them by the Dataset's augment"
            )
        is_picture = inputs.dtype == torch.uint8 and inputs.dim() == 4
        examples = inputs.cpu().movedim(-1, 1) if is_picture else inputs.cpu()
        with forked_generators():
            seed_generators_of_cpu(int(torch.randint(2**63 - 1, (), generator=generator)))  # a GPU's are the model's
            changed = torch.stack([self._one(example) for example in examples])
        return (changed.movedim(1, -1).contiguous() if is_picture else changed).to(inputs.device)

    def _one(self, example: Tensor) -> Tensor:
        changed = example
        for transform in self.transforms:
            changed = transform(changed)
        if (changed.shape, changed.dtype) != (example.shape, example.dtype):
            raise UserError(
                f"expected task.augmentation to keep shape and type, {tuple(example.shape)} {example.dtype}, found "
                f"{tuple(changed.shape)} {changed.dtype} after it; crop to the old size; scaling and normalising "
                "are done after it"
            )
        return changed
