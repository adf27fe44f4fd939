import torch

from lmc_lab.data.examples import Examples
from lmc_lab.data.images import CropAndFlip
from lmc_lab.data.order import StepBatches, branch_order


def slow_crop_and_flip(image, top, left, is_mirrored, padding):
    """One pixel after another, from an image (3, H, W)."""
    _, height, width = image.shape
    out = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            from_row = row + top - padding
            from_column = (width - 1 - column if is_mirrored else column) + left - padding
            if 0 <= from_row < height and 0 <= from_column < width:
                out[:, row, column] = image[:, from_row, from_column]
    return out


def test_images_are_shifted_and_mirrored():
    images = torch.randn(20, 3, 6, 5).to(memory_format=torch.channels_last)
    found = CropAndFlip(padding=2)(images, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    top, left = torch.randint(5, (2, 20, 1), generator=generator)
    mirrored = torch.rand(20, 1, generator=generator) < 0.5
    for i, image in enumerate(images):
        assert torch.equal(found[i], slow_crop_and_flip(image, int(top[i]), int(left[i]), bool(mirrored[i]), 2))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert len({(int(y), int(x)) for y, x in zip(top, left, strict=True)}) > 5 and 0 < mirrored.sum() < 20


def test_augmentation_is_a_function_of_seed_and_step():
    examples = Examples(torch.randn(64, 3, 8, 8), torch.arange(64), lambda x: x)
    batches = [StepBatches(examples, branch_order(0, seed, 64, 8), augment=CropAndFlip()) for seed in (0, 0, 1)]
    torch.manual_seed(1)
    first = batches[0].at(5)[0]
    torch.manual_seed(2)
    assert torch.equal(first, batches[1].at(5)[0])
    plain = StepBatches(examples, branch_order(0, 0, 64, 8)).at(5)
    assert torch.equal(plain[1], batches[0].at(5)[1]) and not torch.equal(plain[0], first)
    offsets = [order.augmentation_seed(step) for order in (b.order for b in batches[1:]) for step in range(20)]
    assert len(set(offsets)) == 40
