"""The batches of several orders at once are those of each."""

from itertools import islice

import numpy as np
import pytest
import torch

from lmc_lab.data.examples import Examples
from lmc_lab.data.images import CropAndFlip
from lmc_lab.data.order import StepBatches, branch_order
from lmc_lab.data.together import BatchesTogether

CPU = torch.device("cpu")


def pictures(count=40):
    values = torch.arange(count * 6 * 5 * 3) % 251
    return Examples(
        values.view(count, 6, 5, 3).to(torch.uint8), torch.arange(count), lambda x: x.permute(0, 3, 1, 2).float()
    )


def orders(count):
    return [branch_order(0, seed, 40, 8) for seed in range(count)]


def darken(inputs, generator):
    return inputs - torch.randint(3, inputs.shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("augment", [None, CropAndFlip(2), lambda x, g: x + torch.randn(x.shape, generator=g)])
@pytest.mark.parametrize("transform", [None, darken])
def test_each_run_has_its_own_batches(augment, transform):
    examples, own = pictures(), orders(3)
    found = BatchesTogether(examples, own, start=3, augment=augment, transform=transform, device=CPU)
    for step, (inputs, targets) in zip(range(3, 12), found, strict=False):
        assert inputs.is_contiguous()
        for run, order in enumerate(own):
            expected = StepBatches(examples, order, augment=augment, transform=transform).at(step)
            assert torch.equal(inputs[run], expected[0]) and torch.equal(targets[run], expected[1])


def test_what_is_random_is_seeded_once_an_order_and_only_where_it_is_used(monkeypatch):
    """More orders than any small cache holds."""
    made = []
    real = np.random.SeedSequence
    monkeypatch.setattr(
        np.random, "SeedSequence", lambda *args, **keywords: made.append(keywords) or real(*args, **keywords)
    )

    def of_noise(augment):
        made.clear()
        list(islice(BatchesTogether(pictures(), orders(40), augment=augment, device=CPU), 4))
        return sum("spawn_key" in keywords for keywords in made)

    assert of_noise(None) == 0 and of_noise(CropAndFlip(2)) == 40
