"""Training labels some of which are wrong."""

import torch
from torch import Tensor


def flipped(targets: Tensor, *, share: float, num_classes: int, generator: torch.Generator) -> Tensor:
    """Returns labels of which a share is another class, each of the others equally likely (symmetric label noise).

    Args:
        targets: whole numbers (N,), or (N, T) of sequences.
        share: of all labels, rounded to a number of them; which ones is drawn.
        num_classes: at least 2.
        generator: of the draws.
    """
    labels = targets.flatten().clone()
    changed = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    steps = torch.randint(1, num_classes, (len(changed),), generator=generator)
    labels[changed] = (labels[changed] + steps) % num_classes
    return labels.view_as(targets)
