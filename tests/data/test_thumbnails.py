import torch

from lmc_lab.data.thumbnails import thumbnails


def test_what_is_small_stays_as_it_is_stored():
    for inputs in (
        torch.zeros(3, 32, 32, 3, dtype=torch.uint8),
        torch.randn(3, 40),
        torch.randn(3, 1, 28, 28),
        torch.ones(3),
    ):
        assert thumbnails(inputs).equal(inputs) and thumbnails(inputs).dtype == inputs.dtype


def test_what_is_large_is_thinned_in_its_own_layout():
    pictures = torch.arange(2 * 224 * 96 * 3).reshape(2, 224, 96, 3)
    assert thumbnails(pictures).equal(pictures[:, ::4, ::2])
    curves = torch.randn(2, 10_000)
    assert thumbnails(curves).equal(curves[:, ::3])
