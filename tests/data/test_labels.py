import torch

from lmc_lab.data.labels import flipped


def drawn(targets, share, num_classes, seed=0):
    return flipped(targets, share=share, num_classes=num_classes, generator=torch.Generator().manual_seed(seed))


def test_a_share_of_labels_is_another_class():
    targets = torch.arange(1000) % 5
    found = drawn(targets, 0.123, 5)
    assert int((found != targets).sum()) == 123 and found.min() == 0 and found.max() == 4
    assert torch.equal(targets, torch.arange(1000) % 5)
    assert torch.equal(found, drawn(targets, 0.123, 5)) and not torch.equal(found, drawn(targets, 0.123, 5, seed=1))
    assert int((drawn(targets, 1.0, 5) != targets).sum()) == 1000


def test_each_other_class_is_equally_likely():
    targets = torch.full((9000,), 2)
    counts = torch.bincount(drawn(targets, 1.0, 4), minlength=4)
    assert counts[2] == 0
    assert (
        (counts[[0, 1, 3]] - 3000).square() / 3000
    ).sum() < 13.8  # 0.1 % point of chi-square with 2 degrees of freedom


def test_labels_of_sequences_keep_their_places():
    targets = torch.zeros(50, 4, dtype=torch.int64)
    found = drawn(targets, 0.25, 2)
    assert found.shape == targets.shape and int(found.sum()) == 50
