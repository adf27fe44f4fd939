from collections.abc import Sequence

from torch import Tensor, nn

from lmc_lab.values import Count, Share


class ConvNet1d(nn.Module):
    """The convolutional net of MNIST-1D (Greydanus 2020, package `mnist1d`): stride-2 convolutions and one linear layer.

    Maps signals (B, 1, in_length) to logits (B, num_classes); 5,210 parameters by default. `dropout` is the share of the linear
    layer's inputs that a training step leaves out.
    """

    def __init__(
        self,
        *,
        channels: Count = 25,
        kernels: Sequence[Count] = (5, 3, 3),
        in_length: Count = 40,
        num_classes: Count = 10,
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels, length = 1, in_length
        for kernel in kernels:
            layers += [nn.Conv1d(in_channels, channels, kernel, stride=2, padding=1), nn.ReLU()]
            in_channels, length = channels, (length + 2 - kernel) // 2 + 1
        self.features = nn.Sequential(*layers)
        dropped = [nn.Dropout(dropout)] if dropout else []
        self.classifier = nn.Sequential(nn.Flatten(), *dropped, nn.Linear(in_channels * length, num_classes))

    def forward(self, signals: Tensor) -> Tensor:
        """Returns the logits (B, num_classes) of signals (B, 1, in_length)."""
        return self.classifier(self.features(signals))
