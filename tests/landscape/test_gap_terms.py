"""The terms of a Jensen gap against the loss written out, and where they are known."""

import pytest
import torch
import torch.nn.functional as F

from lmc_lab.landscape.gap_terms import GapTerms, mean_outputs, mean_probabilities
from lmc_lab.landscape.hull import hull_points

P, N, B, K = 4, 7, 11, 5


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    coefficients = normal(N, P).softmax(dim=1)
    return normal(N, B, K), normal(P, B, K), coefficients, torch.randint(K, (B,), generator=generator)


def cross_entropy(outputs, targets):
    return torch.stack([F.cross_entropy(own, targets) for own in outputs])


def terms_of(loss, hull, ends, coefficients):
    nearest = torch.zeros(N, dtype=torch.int64)
    return GapTerms.of(
        hull=loss(hull),
        mean_outputs=loss(mean_outputs(ends, coefficients)),
        endpoints=loss(ends),
        coefficients=coefficients,
        nearest=nearest,
    )


def test_terms_of_a_cross_entropy_are_those_of_its_log_sum_exp(drawn):
    hull, ends, coefficients, targets = drawn
    terms = terms_of(lambda outputs: cross_entropy(outputs, targets), hull, ends, coefficients)
    middle = torch.einsum("np,pbk->nbk", coefficients, ends)
    bent = hull.logsumexp(2) - middle.logsumexp(2) - (hull - middle)[:, torch.arange(B), targets]
    torch.testing.assert_close(terms.bend, bent.mean(1))
    averaging = coefficients @ ends.logsumexp(2) - middle.logsumexp(2)
    torch.testing.assert_close(terms.averaging, averaging.mean(1))
    assert (terms.averaging > 0).all()
    losses = cross_entropy(hull, targets) - coefficients @ cross_entropy(ends, targets)
    torch.testing.assert_close(terms.jensen_gap, losses)
    torch.testing.assert_close(terms.excess, cross_entropy(hull, targets) - cross_entropy(ends, targets)[0])


def test_averaging_of_a_squared_error_is_the_variance(drawn):
    hull, ends, coefficients, _ = drawn
    targets = torch.arange(B * K, dtype=torch.float64).view(B, K)
    terms = terms_of(lambda outputs: (outputs - targets).square().mean(dim=(1, 2)), hull, ends, coefficients)
    middle = torch.einsum("np,pbk->nbk", coefficients, ends)
    variance = torch.stack(
        [own @ (ends - mid).square().mean(dim=(1, 2)) for own, mid in zip(coefficients, middle, strict=True)]
    )
    torch.testing.assert_close(terms.averaging, variance)


def test_the_terms_are_exact_on_each_example(drawn):
    hull, ends, coefficients, targets = drawn
    for b in range(B):
        one = slice(b, b + 1)
        terms = terms_of(
            lambda out, one=one: cross_entropy(out, targets[one]), hull[:, one], ends[:, one], coefficients
        )
        loss_of_mixed = coefficients @ cross_entropy(ends[:, one], targets[one])
        torch.testing.assert_close(terms.jensen_gap, cross_entropy(hull[:, one], targets[one]) - loss_of_mixed)
        middle = torch.einsum("np,pk->nk", coefficients, ends[:, b])
        apart = hull[:, b] - middle
        deviation = hull[:, b].logsumexp(1) - middle.logsumexp(1)  # D
        torch.testing.assert_close(terms.bend, deviation - apart[:, targets[b]])  # D - E_y


def test_a_network_that_is_linear_in_its_parameters_has_no_bend(drawn):
    """A layer of K outputs on the inputs' own products, at points that the hull has in parameters."""
    _, _, coefficients, targets = drawn
    inputs = torch.randn(B, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    features = torch.einsum("bi,bj->bij", inputs, inputs).flatten(1).tanh()
    thetas = torch.randn(P, K * features.shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ends, hull = (
        torch.einsum("nkf,bf->nbk", own.view(len(own), K, -1), features)
        for own in (thetas, hull_points(thetas, coefficients))
    )
    terms = terms_of(lambda outputs: cross_entropy(outputs, targets), hull, ends, coefficients)
    torch.testing.assert_close(terms.bend, torch.zeros(N, dtype=torch.float64), atol=1e-14, rtol=0)
    torch.testing.assert_close(terms.jensen_gap, -terms.averaging)


def test_what_averaging_gains_otherwise_is_by_its_own_losses(drawn):
    hull, ends, coefficients, targets = drawn
    terms = terms_of(lambda outputs: cross_entropy(outputs, targets), hull, ends, coefficients)
    losses = [cross_entropy(mean(ends, coefficients), targets) for mean in (mean_probabilities, mean_outputs)]
    expected = coefficients @ cross_entropy(ends, targets) - losses[0]
    torch.testing.assert_close(terms.gain_of(losses[0], losses[1]), expected)
    assert (expected > 0).all()


def test_means_of_equal_outputs_are_these_bit_for_bit(drawn):
    _, ends, coefficients, _ = drawn
    equal = ends[:1].float().expand(P, B, K)
    assert torch.equal(mean_outputs(equal, coefficients), equal[:1].expand(N, B, K))


def test_logits_of_mean_probabilities_have_their_cross_entropy(drawn):
    _, ends, coefficients, targets = drawn
    mixed = torch.einsum("np,pbk->nbk", coefficients, ends.softmax(2))
    found = mean_probabilities(ends, coefficients)
    torch.testing.assert_close(found.exp(), mixed)
    expected = -mixed[:, torch.arange(B), targets].log().mean(1)
    torch.testing.assert_close(cross_entropy(found, targets), expected)
