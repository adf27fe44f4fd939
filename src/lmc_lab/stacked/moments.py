"""Means and variances that BatchNorm layers see on one batch."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lmc_lab.inputs import Inputs, each
from lmc_lab.landscape.parameters import States
from lmc_lab.stacked.activations import ActivationLayout, count_models
from lmc_lab.torch_internals import is_batch_norm


def channel_moments(layout: ActivationLayout, parts: list[Tensor], num_models: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns mean, variance and unbiased variance of each channel over all parts of a batch, (n, C) in float64.

    Rows are few enough numbers to be summed in float64 at once.
    """
    if layout is ActivationLayout.ROWS:
        rows = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)).double()
        total, mean = rows.shape[1], rows.mean(dim=1)
        variance = (rows - mean.unsqueeze(1)).square_().mean(dim=1)  # torch.var_mean takes five times as long
    else:
        total, mean, variance = _map_moments(layout, parts)
    both = mean.view(num_models, -1), variance.view(num_models, -1)
    return *both, both[1] * (total / (total - 1))


def _map_moments(layout: ActivationLayout, parts: list[Tensor]) -> tuple[int, Tensor, Tensor]:
    """Returns how many numbers a channel has in feature maps, and their mean and variance, (n * C,) in float64.

    Torch sums channels-last memory in float32, so it is given 8 examples (with the batch last, 8 rows of all examples)
    at a time and the rest is done in float64.
    """
    counts, means, variances = [], [], []
    for x in (piece for part in parts for piece in torch.split(part, 8, dim=2 if layout.is_batch_last else 0)):
        mean, variance = torch.batch_norm_update_stats(x, None, None, 0.0)
        counts.append(x.numel() // len(mean))
        means.append(mean.double())
        variances.append(variance.double())
    total = sum(counts)
    shares = torch.tensor(counts, dtype=torch.float64).unsqueeze(1) / total
    mean = (shares * torch.stack(means)).sum(0)
    variance = (shares * (torch.stack(variances) + (torch.stack(means) - mean) ** 2)).sum(0)
    return total, mean, variance


def has_running_moments(module: nn.Module) -> bool:
    """Returns whether the module is a BatchNorm that has moments of its own; others take those of each batch."""
    return is_batch_norm(module) and module.track_running_stats


def batch_moments(model: nn.Module, states: States, x: Inputs) -> dict[str, Tensor]:
    """Returns every BatchNorm's mean and unbiased variance on one batch, as torch's running buffers with momentum 1.

    The n models run one by one, with the layers that have running moments in train mode and all else in eval mode. Each
    has a batch of its own, which it may change.

    Args:
        model: Any module in eval mode; its own parameters, buffers and modes are left as they are.
        states: Every parameter and buffer by its name, (n, *shape).
        x: The batch (B, ...), or a dict of such.

    Returns:
        The buffers `running_mean` and `running_var` by name, (n, C) each; {} without BatchNorm.
    """
    norms = {name: module for name, module in model.named_modules() if has_running_moments(module)}
    names = [f"{name}.{buffer}" for name in norms for buffer in ("running_mean", "running_var")]
    with _taking_moments(norms.values()):
        by_model = [_moments_of_one(model, states, i, names, x) for i in range(count_models(states) if names else 0)]
    return {name: torch.stack([moments[name] for moments in by_model]) for name in names}


@contextmanager
def _taking_moments(norms: Collection[nn.Module]) -> Iterator[None]:
    """Lets BatchNorms replace their running moments by those of the next batch, as long as the context lasts."""
    before = [(norm, norm.momentum, norm.training) for norm in norms]
    try:
        for norm in norms:
            norm.train().momentum = 1.0  # type: ignore[assignment]  # an attribute of a BatchNorm
        yield
    finally:
        for norm, momentum, training in before:
            norm.train(training).momentum = momentum


@torch.no_grad()
def _moments_of_one(model: nn.Module, states: States, index: int, names: list[str], x: Inputs) -> dict[str, Tensor]:
    state = {name: tensor[index].clone() for name, tensor in states.items()}  # the buffers are overwritten
    # In channels-last memory torch sums in float32: variances of 2,048 images were 0.2 % off.
    copies = each(lambda tensor: tensor.clone(memory_format=torch.contiguous_format), x)
    torch.func.functional_call(model, state, (copies,))
    return {name: state[name] for name in names}
