import torch

from lmc_lab.landscape.geometry import centre, distances_to, pairwise_distances


def test_distances_are_euclidean_over_many_column_blocks():
    points = torch.randn(4, 40_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pairwise_distances(points), torch.cdist(points.double(), points.double()))
    torch.testing.assert_close(distances_to(points, points[2]), (points - points[2]).double().norm(dim=1))


def test_centre_is_the_mean_in_the_precision_of_the_points():
    points = torch.randn(5, 100, generator=torch.Generator().manual_seed(0))
    assert centre(points).dtype == torch.float32
    torch.testing.assert_close(centre(points), points.mean(dim=0))
