"""A model whose forward is written where it is needed."""

from collections.abc import Callable

from torch import Tensor, nn


class Written(nn.Module):
    """Layers, and a forward written as a function of them and the input."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.written = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.written(self, x)
