from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class NormaliseImages:
    """Turns uint8 images (B, H, W, 3) into float32 (B, 3, H, W) with zero mean and unit deviation, in channels-last memory.

    Mean and deviation are of pixels in [0, 1]. They are spread to a whole image row once, since a broadcast over the
    three innermost values would not vectorise.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    side: int
    # Of each device where images were: the factor and the shift of an image, (H * W * 3,) each.
    _on_device: dict[torch.device, tuple[Tensor, Tensor]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __call__(self, images: Tensor) -> Tensor:
        """Returns the normalised images (B, 3, H, W)."""
        scale, shift = self._factors(images.device)
        pixels = images.flatten(1).to(torch.float32, copy=True)
        torch.addcmul(shift, pixels, scale, out=pixels)  # in place: three quarters of the time
        return pixels.view(images.shape).permute(0, 3, 1, 2)

    def _factors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._on_device:
            mean, deviation = torch.tensor(self.mean), torch.tensor(self.deviation)
            factors = ((1 / (255 * deviation)).repeat(self.side**2), (-mean / deviation).repeat(self.side**2))
            self._on_device[device] = (factors[0].to(device), factors[1].to(device))
        return self._on_device[device]


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
