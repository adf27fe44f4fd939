"""Pictures as they are stored, and the batches that a model gets of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from lmc_lab.data.transfer import sent


@dataclass(frozen=True)
class NormaliseImages:
    """Turns uint8 images (B, H, W, C) into float32 (B, C, H, W) with zero mean and unit deviation, in channels-last memory.

    Mean and deviation, (C,), are of pixels in [0, 1]. They are spread to a whole image row once, since a broadcast over the
    few innermost values would not vectorise.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    # Of each device where images were, and their number of pixels: the factor and the shift of an image, (H * W * C,) each.
    _made: dict[tuple[torch.device, int], tuple[Tensor, Tensor]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __call__(self, images: Tensor) -> Tensor:
        """Returns the normalised images (B, C, H, W)."""
        scale, shift = self._factors(images.device, images.shape[1] * images.shape[2])
        pixels = images.flatten(1).to(torch.float32, copy=True)
        torch.addcmul(shift, pixels, scale, out=pixels)  # in place: three quarters of the time
        return pixels.view(images.shape).permute(0, 3, 1, 2)

    def _factors(self, device: torch.device, num_pixels: int) -> tuple[Tensor, Tensor]:
        if (device, num_pixels) not in self._made:
            mean, deviation = torch.tensor(self.mean), torch.tensor(self.deviation)
            factors = ((1 / (255 * deviation)).repeat(num_pixels), (-mean / deviation).repeat(num_pixels))
            self._made[device, num_pixels] = (factors[0].to(device), factors[1].to(device))
        return self._made[device, num_pixels]


@dataclass(frozen=True)
class NormaliseChannels:
    """Gives floating-point inputs (B, C, ...) zero mean and unit deviation in each channel; both are (C,)."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    _made: dict[torch.device, tuple[Tensor, Tensor]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )  # both, of each device where inputs were

    def __call__(self, inputs: Tensor) -> Tensor:
        """Returns the normalised inputs (B, C, ...)."""
        if inputs.device not in self._made:
            self._made[inputs.device] = (
                torch.tensor(self.mean, device=inputs.device),
                torch.tensor(self.deviation, device=inputs.device),
            )
        shape = (-1, *[1] * (inputs.dim() - 2))
        mean, deviation = (values.view(shape) for values in self._made[inputs.device])
        return (inputs - mean) / deviation


@dataclass(frozen=True)
class CropAndFlip:
    """Shifts each image by up to `padding` pixels in both directions, and mirrors half of them (He et al. 2016, 4.2).

    What comes in at the edges is zero: the mean colour of normalised images.
    """

    padding: int = 4

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the changed images (B, 3, H, W), in channels-last memory."""
        shifts, is_mirrored = self._drawn(len(images), generator)
        return self._moved(images, sent(shifts, images.device), sent(is_mirrored, images.device))

    def of_runs(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Returns the changed images (n, B, 3, H, W), for each of n runs those of its generator; all numbers travel at once."""
        drawn = [self._drawn(images.shape[1], generator) for generator in generators]
        shifts, is_mirrored = (torch.cat(parts, dim=-1) for parts in zip(*drawn, strict=True))
        numbers = sent(torch.cat([shifts, is_mirrored[None].to(shifts.dtype)]), images.device)
        changed = self._moved(images.flatten(0, 1), numbers[:2], numbers[2].bool())
        return changed.contiguous().view(images.shape)

    def _drawn(self, num: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns the rows and columns, (2, num), by which images are shifted, and which of them are mirrored, (num,)."""
        shifts = torch.randint(2 * self.padding + 1, (2, num), generator=generator)
        return shifts, torch.rand(num, generator=generator) < 0.5

    def _moved(self, images: Tensor, shifts: Tensor, is_mirrored: Tensor) -> Tensor:
        """Returns images (B, 3, H, W) in channels-last memory, from numbers that are where they are."""
        num, _, height, width = images.shape
        of_batch, rows, columns = (torch.arange(size, device=images.device) for size in (num, height, width))
        rows, columns = shifts[0, :, None] + rows, shifts[1, :, None] + columns  # (B, H), (B, W)
        columns = torch.where(is_mirrored[:, None], columns.flip(1), columns)
        padded = F.pad(images, [self.padding] * 4).permute(0, 2, 3, 1)
        picked = padded[of_batch[:, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, 3)
        return picked.permute(0, 3, 1, 2)
