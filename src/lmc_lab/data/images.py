"""Pictures as they are stored, and the batches that a model gets of them."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


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
        num, _, height, width = images.shape
        shifts = torch.randint(2 * self.padding + 1, (2, num, 1), generator=generator)
        is_mirrored = torch.rand(num, 1, generator=generator) < 0.5
        rows, columns = shifts[0] + torch.arange(height), shifts[1] + torch.arange(width)  # (B, H), (B, W)
        columns = torch.where(is_mirrored, columns.flip(1), columns)
        of_batch, rows, columns = (index.to(images.device) for index in (torch.arange(num), rows, columns))
        padded = F.pad(images, [self.padding] * 4).permute(0, 2, 3, 1)
        picked = padded[of_batch[:, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, 3)
        return picked.permute(0, 3, 1, 2)
