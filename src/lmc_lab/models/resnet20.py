from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from lmc_lab.values import Count

Norm = Literal["batch", "group", "none"]
_WIDTHS = (16, 32, 64)
_BLOCKS_PER_STAGE = 3
_NUM_GROUPS = 8  # 2, 4 and 8 channels a group; not specified by the paper, which only has BatchNorm


class ResNet20(nn.Module):
    """The CIFAR ResNet-20 of He et al. 2016, section 4.2: option-A shortcuts, 269,722 parameters with BatchNorm.

    Maps images (B, 3, 32, 32) to logits (B, num_classes).

    Args:
        num_classes: The number of logits.
        norm: "batch"; "group" (GroupNorm, 8 groups); or "none": convolutions have biases, and every residual branch
            starts at zero, as in Fixup (Zhang et al. 2019). The network is then the shortcut path of its first
            convolution at initialization, and trains at the usual rates. With Kaiming's scale in the branches
            the variance would double in each of the nine blocks.
    """

    def __init__(self, *, num_classes: Count = 10, norm: Norm = "batch") -> None:
        super().__init__()
        self.stem = _convolution(3, _WIDTHS[0], stride=1, norm=norm)
        self.stem_norm = _norm(norm, _WIDTHS[0])
        blocks: list[nn.Module] = []
        in_channels = _WIDTHS[0]
        for stage, width in enumerate(_WIDTHS):
            for block in range(_BLOCKS_PER_STAGE):
                blocks.append(BasicBlock(in_channels, width, stride=2 if stage and not block else 1, norm=norm))
                in_channels = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(in_channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits (B, num_classes) of images (B, 3, 32, 32)."""
        features = self.blocks(F.relu(self.stem_norm(self.stem(images))))
        return self.classifier(self.pool(features).flatten(1))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters (option A)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, out_channels, stride=stride, norm=norm)
        self.norm1 = _norm(norm, out_channels)
        self.conv2 = _convolution(out_channels, out_channels, stride=1, norm=norm)
        self.norm2 = _norm(norm, out_channels)
        self.shortcut = Subsample(in_channels, out_channels, stride=stride) if stride > 1 else nn.Identity()
        if norm == "none":
            nn.init.zeros_(self.conv2.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Maps features (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        branch = F.relu(self.norm1(self.conv1(features)))
        return F.relu(self.norm2(self.conv2(branch)) + self.shortcut(features))


class Subsample(nn.Module):
    """Option A: every `stride`-th pixel, and zeros for the channels that the input lacks, half on either side."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, features: Tensor) -> Tensor:
        """Maps features (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        return F.pad(features[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def _convolution(in_channels: int, out_channels: int, *, stride: int, norm: Norm) -> nn.Conv2d:
    """Returns a 3x3 convolution with the initialization of He et al. 2015, and a bias only where no norm has one."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=norm == "none")
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def _norm(norm: Norm, channels: int) -> nn.Module:
    match norm:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "group":
            return nn.GroupNorm(_NUM_GROUPS, channels)
        case "none":
            return nn.Identity()
    raise ValueError(f"expected norm to be one of batch, group, none, found {norm!r}")
