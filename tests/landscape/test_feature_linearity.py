"""Deviations of features from a multiple of each other, where they are known."""

import torch

from lmc_lab.landscape.feature_linearity import deviations


def test_multiples_do_not_deviate_and_perpendicular_features_do_in_full():
    first = torch.tensor([[1.0, 2.0], [3.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    second = torch.tensor([[-2.0, -4.0], [0.0, 5.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    expected = torch.tensor([0, 1, 1 - 0.5**0.5, 1, 0], dtype=torch.float64)
    torch.testing.assert_close(deviations(first, second), expected)


def test_leading_dimensions_are_points():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 3, 4, 5, generator=generator)
    found = deviations(first, second)
    for i in range(3):
        for j in range(4):
            cosine = torch.cosine_similarity(first[i, j].double(), second[i, j].double(), dim=0)
            torch.testing.assert_close(found[i, j], 1 - cosine.abs())
