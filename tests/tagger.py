"""A model of sequences with several inputs by name, a matrix that is tied, and outputs in a dict or an object."""

from types import SimpleNamespace

import torch
from torch import nn

from lmc_lab.data.examples import Examples

NUM_TOKENS, LENGTH, WIDTH = 5, 4, 3


class Tagger(nn.Module):
    """logits = tanh((E[tokens] * mask) W' + b) E', (B, T, tokens)."""

    def __init__(self, wrap=lambda logits: {"loss": None, "logits": logits}):
        super().__init__()
        self.embedding = nn.Embedding(NUM_TOKENS, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, NUM_TOKENS, bias=False)
        self.head.weight = self.embedding.weight
        self.wrap = wrap

    def forward(self, tokens, mask):
        return self.wrap(self.head(torch.tanh(self.mix(self.embedding(tokens) * mask[..., None]))))


def as_object(logits):
    return SimpleNamespace(logits=logits)


def sequences(num_examples=60, seed=0, dtype=torch.float64):
    """Tokens and a mask, and the next token of each place as a function of the token."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(NUM_TOKENS, (num_examples, LENGTH), generator=generator)
    mask = (torch.rand(num_examples, LENGTH, generator=generator) < 0.8).to(dtype)
    return Examples({"tokens": tokens, "mask": mask}, (2 * tokens + 1) % NUM_TOKENS, lambda inputs: inputs)


def logits_by_hand(embedding, weight, bias, inputs):
    """The outputs, written out."""
    hidden = (embedding[inputs["tokens"]] * inputs["mask"][..., None]) @ weight.T + bias
    return hidden.tanh() @ embedding.T
