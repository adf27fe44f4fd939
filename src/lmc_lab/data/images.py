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
    _scale: Tensor = field(init=False, repr=False)  # (H * W * 3,)
    _shift: Tensor = field(init=False, repr=False)  # (H * W * 3,)

    def __post_init__(self) -> None:
        mean, deviation = torch.tensor(self.mean), torch.tensor(self.deviation)
        object.__setattr__(self, "_scale", (1 / (255 * deviation)).repeat(self.side**2))
        object.__setattr__(self, "_shift", (-mean / deviation).repeat(self.side**2))

    def __call__(self, images: Tensor) -> Tensor:
        """Returns the normalised images (B, 3, H, W)."""
        pixels = images.flatten(1).to(torch.float32, copy=True)
        torch.addcmul(self._shift, pixels, self._scale, out=pixels)  # in place: three quarters of the time
        return pixels.view(images.shape).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class CropAndFlip:
    """Shifts each image by up to `padding` pixels in both directions, and mirrors half of them (He et al. 2016, 4.2).

    What comes in at the edges is zero: the mean colour of normalised images.
    """

    padding: int = 4

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the changed images (B, 3, H, W), in channels-last memory."""
        num, _, height, width = images.shape
        top, left = torch.randint(2 * self.padding + 1, (2, num, 1), generator=generator)
        is_mirrored = torch.rand(num, 1, generator=generator) < 0.5
        rows, columns = top + torch.arange(height), left + torch.arange(width)  # (B, H), (B, W)
        columns = torch.where(is_mirrored, columns.flip(1), columns)
        padded = F.pad(images, [self.padding] * 4).permute(0, 2, 3, 1)
        picked = padded[torch.arange(num)[:, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, 3)
        return picked.permute(0, 3, 1, 2)
