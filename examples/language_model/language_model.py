"""A small language model: pre-norm transformer layers with causal attention, and one matrix for embedding and outputs."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Layer(nn.Module):
    """Attention to what came before, and a perceptron at each place, both residual."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, T, width), as x is."""
        by_head = (
            self.queries_keys_values(self.norms[0](x)).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        )
        queries, keys, values = by_head.unbind()  # (B, heads, T, width / heads) each
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.attended(attended.transpose(1, 2).flatten(2))
        return x + self.perceptron(self.norms[1](x))


class LanguageModel(nn.Module):
    """Maps tokens (B, T) to logits of the next token at each place, (B, T, num_tokens)."""

    def __init__(
        self, num_tokens: int = 256, length: int = 64, width: int = 32, num_heads: int = 2, num_layers: int = 2
    ):
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, width)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.layers = nn.Sequential(*(Layer(width, num_heads) for _ in range(num_layers)))
        self.norm = nn.LayerNorm(width)
        self.outputs = nn.Linear(width, num_tokens, bias=False)
        self.outputs.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns the logits."""
        return self.outputs(self.norm(self.layers(self.embedding(tokens) + self.positions)))
