from torch import nn


class NormMLP(nn.Sequential):
    """What people write first: two hidden layers with BatchNorm, on MNIST-1D."""

    def __init__(self, width: int = 64) -> None:
        hidden = [nn.Linear(40, width), nn.BatchNorm1d(width), nn.ReLU()]
        deeper = [nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()]
        super().__init__(nn.Flatten(), *hidden, *deeper, nn.Linear(width, 10))
