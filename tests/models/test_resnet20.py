import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lmc_lab.models.resnet20 import ResNet20, Subsample


@pytest.mark.parametrize(("norm", "count"), [("batch", 269_722), ("group", 269_722), ("none", 269_034)])
def test_number_of_parameters(norm, count):
    assert sum(parameter.numel() for parameter in ResNet20(norm=norm).parameters()) == count


def test_has_twenty_layers_with_weights():
    layers = [module for module in ResNet20().modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 20
    assert ResNet20(num_classes=7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_shortcut_has_every_second_pixel_and_zero_channels_around():
    images = torch.randn(2, 4, 6, 6)
    features = Subsample(4, 8, stride=2)(images)
    assert torch.equal(features[:, 2:6], images[:, :, ::2, ::2])
    assert not features[:, :2].any()
    assert not features[:, 6:].any()


def test_convolutions_start_with_the_deviation_of_he():
    for module in ResNet20().modules():
        if isinstance(module, nn.Conv2d):
            expected = (2 / (9 * module.out_channels)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.15)


def test_without_norm_every_block_starts_as_its_shortcut():
    torch.manual_seed(0)
    model = ResNet20(norm="none")
    features = torch.rand(2, 16, 8, 8)  # not negative, as after the ReLU before
    assert torch.equal(model.blocks[0](features), features)
    images = torch.randn(64, 3, 32, 32)
    assert model(images).std() < 1


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_every_variant_learns(norm):
    """Eight images by heart: no variant explodes, or stays where it started."""
    torch.manual_seed(0)
    model = ResNet20(norm=norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())
    assert losses[-1] < 0.9 * losses[0]


def test_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="batch, group, none"):
        ResNet20(norm="layer")
