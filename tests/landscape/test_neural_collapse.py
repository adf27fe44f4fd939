"""Measures of neural collapse against the paper's formulas written out, and where they are known."""

import numpy as np
import pytest
import torch

from lmc_lab.landscape.neural_collapse import (
    ClassMeans,
    ClassMoments,
    Collapse,
    class_cosines,
    class_mean_bend,
    cosine_differences,
)

N, B, K, D = 3, 60, 5, 8


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def simplex(num_classes, dimension, seed=0):
    """Returns the corners of a regular simplex around 0, rows (K, D), turned at random."""
    turned, _ = torch.linalg.qr(normal(dimension, num_classes, seed=seed))
    return (turned @ (torch.eye(num_classes, dtype=torch.float64) - 1 / num_classes)).T


@pytest.fixture
def drawn():
    classes = torch.cat([torch.arange(K), torch.randint(K, (B - K,), generator=torch.Generator().manual_seed(1))])
    return 2 * normal(N, B, D) + 3 * normal(K, D, seed=2)[classes], classes, normal(N, K, D, seed=3)


def by_hand(features, classes, weights):
    """Papyan, Han and Donoho 2020: Figures 2 to 6, an example and a pair of classes at a time."""
    means = np.stack([features[classes == c].mean(axis=0) for c in range(K)])
    apart = means - means.mean(axis=0)
    within = sum(np.outer(h - means[c], h - means[c]) for h, c in zip(features, classes, strict=True)) / len(features)
    between = sum(np.outer(own, own) for own in apart) / K
    values, vectors = np.linalg.eigh(between)
    kept = range(len(values))[-min(K - 1, D) :]
    inverse = sum(np.outer(vectors[:, i], vectors[:, i]) / values[i] for i in kept)
    norms = [np.sqrt(own @ own) for own in apart]
    cosines = [apart[i] @ apart[j] / norms[i] / norms[j] for i in range(K) for j in range(K) if i != j]
    difference = weights / np.sqrt((weights**2).sum()) - apart / np.sqrt((apart**2).sum())
    return {
        "nc1": np.trace(within @ inverse) / K,
        "nc2_equinorm": np.std(norms) / np.mean(norms),
        "nc2_equiangular": np.std(cosines),
        "nc2_maximal_angle": np.mean([abs(cosine + 1 / (K - 1)) for cosine in cosines]),
        "nc3": (difference**2).sum(),
        "feature_norm": np.mean([np.sqrt(h @ h) for h in features]),
    }


@pytest.mark.parametrize("num_features", [D, 3], ids=["more features than classes", "fewer"])
def test_measures_are_those_of_the_paper(drawn, num_features, monkeypatch):
    monkeypatch.setitem(by_hand.__globals__, "D", num_features)
    features, classes, weights = (part[..., :num_features] if part.dim() == 3 else part for part in drawn)
    found = vars(Collapse.of(ClassMoments.of(features, classes, K), weights))
    for i in range(N):
        expected = by_hand(features[i].numpy(), classes.numpy(), weights[i].numpy())
        assert {name: float(values[i]) for name, values in found.items()} == pytest.approx(expected, rel=1e-9)


def test_features_that_are_class_means_have_collapsed_within_classes(drawn):
    _, classes, weights = drawn
    means = normal(1, K, D)
    found = Collapse.of(ClassMoments.of(means[:, classes], classes, K), weights[:1])
    assert 0 <= float(found.nc1) < 1e-25 and float(found.nc2_equinorm) > 0.01 and float(found.nc3) > 0.01


def test_a_simplex_has_no_deviations_and_is_its_own_dual(drawn):
    _, classes, _ = drawn
    corners = simplex(K, D)
    spread = 0.3 * normal(1, B, D)
    features = 2.5 * corners[classes] + 7 + spread
    moments = ClassMoments.of(features, classes, K)
    exact = ClassMoments(ClassMeans(moments.classes.counts, 2.5 * corners[None] + 7), moments.scatter, moments.norms)
    found = Collapse.of(exact, 0.1 * corners[None])
    for name in ("nc2_equinorm", "nc2_equiangular", "nc2_maximal_angle", "nc3"):
        assert abs(float(getattr(found, name))) < 1e-13, name
    assert float(found.nc1) > 0.01
    opposite = Collapse.of(exact, -corners[None])
    assert float(opposite.nc3) == pytest.approx(4)


def test_nc1_of_isotropic_scatter_around_a_simplex_is_known():
    """S_W = s^2 I, and S_B has K - 1 eigenvalues r^2 / K, of corners at r sqrt(1 - 1 / K): tr = (K - 1) s^2 K / r^2."""
    s, r = 0.3, 2.0
    steps = s * (D**0.5) * torch.cat([torch.eye(D), -torch.eye(D)]).double()
    classes = torch.arange(K).repeat_interleave(2 * D)
    features = (r * simplex(K, D)[classes] + steps.repeat(K, 1))[None]
    found = Collapse.of(ClassMoments.of(features, classes, K), normal(1, K, D))
    assert float(found.nc1) == pytest.approx((K - 1) * s**2 / r**2)


def test_nc1_is_that_of_published_code():
    """`validate_NC.py` of github.com/tding1/Neural-Collapse (Zhu et al. 2021) at 0106f93 finds 0.5836617765126119 here."""
    classes = torch.arange(40) % 4
    spread = torch.arange(240, dtype=torch.float64).square().sin().view(40, 6)
    features = spread + torch.outer(classes + 1.0, torch.arange(1.0, 7.0)).double().cos()
    found = Collapse.of(ClassMoments.of(features[None], classes, 4), normal(1, 4, 6))
    assert float(found.nc1) == pytest.approx(0.5836617765126119, rel=1e-7)  # its cosines are of float32


def test_scale_and_turns_change_nothing_but_norms(drawn):
    features, classes, weights = drawn
    turn, _ = torch.linalg.qr(normal(D, D, seed=4))
    plain = vars(Collapse.of(ClassMoments.of(features, classes, K), weights))
    other = vars(Collapse.of(ClassMoments.of(1e3 * features @ turn, classes, K), 1e-2 * weights @ turn))
    torch.testing.assert_close(other.pop("feature_norm"), 1e3 * plain.pop("feature_norm"))
    torch.testing.assert_close(other, plain)


def tensors_in(moments):
    return [
        tensor
        for each in vars(moments).values()
        for tensor in (vars(each).values() if hasattr(each, "counts") else [each])
    ]


@pytest.mark.parametrize("kind", [ClassMeans, ClassMoments])
def test_parts_add_up_also_where_one_lacks_a_class(drawn, kind):
    features, classes, _ = drawn
    order = classes.argsort()
    features, classes = features[:, order] + 1e6, classes[order]
    parts = [kind.of(features[:, cut], classes[cut], K) for cut in (slice(7), slice(7, 8), slice(8, B))]
    whole, found = kind.of(features, classes, K), parts[0] + parts[1] + parts[2]
    for first, second in zip(tensors_in(found), tensors_in(whole), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-6)


def test_equal_class_means_have_no_measures_and_a_lost_direction_does_not_count(drawn):
    features, classes, weights = drawn
    dead = Collapse.of(ClassMoments.of(torch.zeros_like(features), classes, K), weights)
    assert dead.nc1.isnan().all() and dead.nc2_equinorm.isnan().all() and dead.nc3.isnan().all()
    assert (dead.feature_norm == 0).all()
    flat = features.clone()
    flat[..., 2:] = 0  # class means then span two dimensions, where K - 1 = 4
    planar = Collapse.of(ClassMoments.of(flat, classes, K), weights)
    torch.testing.assert_close(
        planar.nc1, Collapse.of(ClassMoments.of(features[..., :2], classes, K), weights[..., :2]).nc1
    )


def test_class_means_bend_as_far_as_they_are_from_the_mean_of_the_endpoints():
    ends, coefficients = normal(4, K, D), normal(N, 4).softmax(dim=1)
    mixed = torch.einsum("np,pkd->nkd", coefficients, ends)
    torch.testing.assert_close(class_mean_bend(mixed, ends, coefficients), torch.zeros(N, dtype=torch.float64))
    shift = normal(N, K, D, seed=5)
    found = class_mean_bend(mixed + shift, ends, coefficients)
    for i in range(N):
        spread = sum(float((mixed[i, c] - mixed[i].mean(0)).square().sum()) for c in range(K))
        assert float(found[i]) == pytest.approx(float(shift[i].square().sum()) / spread)


def test_differences_of_cosines_do_not_see_the_order_of_neurons():
    means = normal(3, K, D)
    means[1] = 5 * means[0][:, torch.randperm(D, generator=torch.Generator().manual_seed(6))]
    cosines = class_cosines(means)
    found = cosine_differences(cosines)
    squares = [(cosines[0, i, j] - cosines[2, i, j]) ** 2 for i in range(K) for j in range(i)]
    assert float(found[0, 1]) < 1e-14 and float(found[0, 2]) == pytest.approx(float(sum(squares) / len(squares)) ** 0.5)
    assert torch.equal(found, found.T) and (found.diagonal() == 0).all()
