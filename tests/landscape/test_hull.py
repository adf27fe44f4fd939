import pytest
import torch

from landscape.slow_references import algorithm_1
from lmc_lab.landscape.finite import NotFinite
from lmc_lab.landscape.hull import (
    Evaluation,
    LazyPoints,
    evaluate_lazily,
    hull_points,
    matched_perturbations,
    probe_hull,
    sample_hull,
)

NUM_PARAMETERS = 40


def evaluator(loss):
    return lambda thetas, mixture: Evaluation(torch.stack([loss(theta) for theta in thetas]).double(), None)


def random_endpoints(num_endpoints=5, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_endpoints, NUM_PARAMETERS, generator=generator, dtype=dtype)


def on_level_set(points, curvatures):
    """Scales each point so that 1/2 sum h w^2 is 1."""
    return points / (0.5 * points.square() @ curvatures).sqrt()[:, None]


def noise_of(sample):
    for noise_seed in sample.noise_seeds:
        generator = torch.Generator().manual_seed(int(noise_seed))
        yield torch.randn(NUM_PARAMETERS, generator=generator, dtype=torch.float64)


def bumpy(theta):
    return (theta.square() * 0.2 + torch.sin(3 * theta)).sum()


def test_algorithm_1_agrees_with_its_literal_transcription():
    endpoints = random_endpoints()
    sample = sample_hull(endpoints, 80, seed=3)
    probe = probe_hull(evaluator(bumpy), endpoints, sample)
    expected = algorithm_1(bumpy, list(endpoints), sample.coefficients.tolist(), list(noise_of(sample)))
    found = (probe.is_conv_better.double().mean().item(), probe.is_rand_better.double().mean().item())
    assert found == expected
    assert 0 < found[0] < 1 and 0 < found[1] < 1  # a case that could tell a mistake
    assert (probe.p_conv.value, probe.p_rand.value) == expected and probe.p_conv.num_samples == 80


def test_p_conv_is_one_on_a_level_set_of_a_convex_quadratic_and_zero_for_a_concave_one():
    curvatures = torch.linspace(0.1, 5, NUM_PARAMETERS, dtype=torch.float64)
    endpoints = on_level_set(random_endpoints(), curvatures)
    sample = sample_hull(endpoints, 200, seed=0)
    convex = probe_hull(evaluator(lambda w: 0.5 * curvatures @ w.square()), endpoints, sample)
    concave = probe_hull(evaluator(lambda w: -0.5 * curvatures @ w.square()), endpoints, sample)
    assert convex.is_conv_better.all() and (convex.jensen_gap < 0).all()
    assert not concave.is_conv_better.any() and (concave.jensen_gap > 0).all()


def test_a_tie_counts_as_not_better():
    endpoints = random_endpoints()
    probe = probe_hull(evaluator(lambda w: torch.zeros(())), endpoints, sample_hull(endpoints, 50, seed=0))
    assert not probe.is_conv_better.any() and not probe.is_rand_better.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_endpoints_make_a_hull_of_size_zero(dtype):
    endpoints = random_endpoints(1, dtype).repeat(7, 1)
    sample = sample_hull(endpoints, 100, seed=0)
    probe = probe_hull(evaluator(bumpy), endpoints, sample)
    assert (sample.distance == 0).all()
    assert torch.equal(hull_points(endpoints, sample.coefficients), endpoints[:1].expand(100, -1))
    assert torch.equal(matched_perturbations(endpoints, sample), endpoints[:1].expand(100, -1))
    assert not probe.is_conv_better.any()


def test_nearest_endpoint_and_distance_are_those_of_the_points():
    endpoints = random_endpoints(6)
    sample = sample_hull(endpoints, 60, seed=1)
    distances = torch.cdist(hull_points(endpoints, sample.coefficients), endpoints)
    assert torch.equal(distances.argmin(dim=1), sample.nearest)
    torch.testing.assert_close(distances.min(dim=1).values, sample.distance)


def test_distance_keeps_its_digits_when_the_hull_is_far_from_the_origin():
    endpoints = 1e6 + 1e-3 * random_endpoints(4)
    sample = sample_hull(endpoints, 20, seed=0)
    exact = torch.stack([(w - endpoints).norm(dim=1).min() for w in hull_points(endpoints, sample.coefficients)])
    torch.testing.assert_close(sample.distance, exact, rtol=1e-6, atol=0)


def test_perturbation_is_as_long_as_the_way_to_the_hull_point():
    endpoints = random_endpoints()
    sample = sample_hull(endpoints, 30, seed=2)
    moved = (matched_perturbations(endpoints, sample) - endpoints[sample.nearest]).norm(dim=1)
    torch.testing.assert_close(moved, sample.distance)


def test_points_do_not_depend_on_the_chunks_they_are_made_in():
    endpoints = random_endpoints(dtype=torch.float32)
    sample = sample_hull(endpoints, 23, seed=0)
    whole = probe_hull(evaluator(bumpy), endpoints, sample)
    pieces = probe_hull(evaluator(bumpy), endpoints, sample, points_at_a_time=4)
    torch.testing.assert_close(pieces.conv.loss, whole.conv.loss, rtol=1e-6, atol=0)
    assert torch.equal(pieces.rand.loss, whole.rand.loss)


@pytest.mark.parametrize("points_at_a_time", [1, 2, 3, 5, 64])
def test_lots_are_evaluated_in_chunks_across_their_borders(points_at_a_time):
    sizes = []

    def evaluate(thetas, mixtures):
        sizes.append(len(thetas))
        assert torch.equal(thetas, mixtures)
        return Evaluation(thetas[:, 0], thetas[:, 0] + 1)

    numbers = [
        torch.arange(start, start + count, dtype=torch.float64)[:, None] for start, count in ((0, 4), (4, 1), (5, 7))
    ]
    lots = [LazyPoints(len(own), lambda cut, own=own: (own[cut], own[cut])) for own in numbers]
    found = evaluate_lazily(evaluate, lots, points_at_a_time=points_at_a_time)
    for own, evaluation in zip(numbers, found, strict=True):
        assert torch.equal(evaluation.loss, own[:, 0]) and torch.equal(evaluation.accuracy, own[:, 0] + 1)
    assert sum(sizes) == 12 and set(sizes[:-1]) <= {points_at_a_time}


def test_each_point_comes_with_its_own_mixture_of_endpoints():
    """A perturbation is a matter of its nearest endpoint alone: that is whose buffers it gets."""
    seen = []

    def evaluate(thetas, mixture):
        seen.append(mixture)
        return Evaluation(torch.zeros(len(thetas), dtype=torch.float64), None)

    endpoints = random_endpoints()
    sample = sample_hull(endpoints, 12, seed=1)
    probe_hull(evaluate, endpoints, sample)
    vertices = torch.eye(5, dtype=torch.float64)
    expected = [vertices, sample.coefficients, vertices[sample.nearest], torch.full((1, 5), 0.2, dtype=torch.float64)]
    assert torch.equal(torch.cat(seen), torch.cat(expected))
    assert len(set(sample.nearest.tolist())) > 1


def test_weights_are_uniform_on_the_simplex():
    weights = sample_hull(random_endpoints(3), 20_000, seed=0).coefficients
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(20_000, dtype=torch.float64))
    # Each weight of Dirichlet(1, 1, 1) is Beta(1, 2): P(a < x) = 1 - (1 - x)^2.
    for threshold in (0.1, 0.3, 0.7):
        assert (weights < threshold).double().mean() == pytest.approx(1 - (1 - threshold) ** 2, abs=0.01)


@pytest.mark.parametrize("concentration", [0.0, 1e-320, 0.003])
def test_a_concentration_whose_samples_would_round_to_the_centre_is_refused(concentration):
    with pytest.raises(ValueError, match="expected a concentration >= 0.01"):
        sample_hull(torch.eye(3), 5, seed=0, concentration=concentration)
    smallest = sample_hull(torch.eye(3), 1000, seed=0, concentration=0.01).coefficients
    assert not (smallest == smallest[:, :1]).all(dim=1).any()


def test_a_large_concentration_gathers_samples_at_the_centre():
    endpoints = random_endpoints(4)
    centre = endpoints.mean(dim=0)
    spread = [
        (hull_points(endpoints, sample_hull(endpoints, 200, seed=0, concentration=c).coefficients) - centre)
        .norm(dim=1)
        .mean()
        for c in (0.1, 1.0, 100.0)
    ]
    assert spread[0] > spread[1] > spread[2]


def test_sampling_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    sample_hull(random_endpoints(), 10, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("num_endpoints", "num_samples"), [(1, 10), (3, 0)])
def test_impossible_hulls_are_refused(num_endpoints, num_samples):
    with pytest.raises(ValueError, match="expected P >= 2 endpoints and J >= 1"):
        sample_hull(random_endpoints(num_endpoints), num_samples, seed=0)


def test_perturbations_move_in_movable_coordinates_alone_and_as_far():
    endpoints = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    endpoints[:, 10:] = endpoints[0, 10:]  # frozen
    movable = torch.arange(40) < 10
    sample = sample_hull(endpoints, 20, seed=0, movable=movable)
    moved = matched_perturbations(endpoints, sample) - endpoints[sample.nearest]
    assert not moved[:, 10:].any() and moved[:, :10].all()
    torch.testing.assert_close(moved.norm(dim=1).double(), sample.distance, rtol=1e-4, atol=0)
    assert torch.equal(
        matched_perturbations(endpoints, sample.rows(slice(3, 5))), (moved + endpoints[sample.nearest])[3:5]
    )


@pytest.mark.parametrize("movable", [torch.ones(40, dtype=torch.bool), torch.zeros(40, dtype=torch.bool)])
def test_where_all_or_nothing_is_movable_perturbations_are_what_they_are_without(movable):
    endpoints = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    with_it, without = sample_hull(endpoints, 20, seed=0, movable=movable), sample_hull(endpoints, 20, seed=0)
    assert torch.equal(matched_perturbations(endpoints, with_it), matched_perturbations(endpoints, without))


def probe_with(*, endpoint=1.0, conv=1.0):
    """A probe of two endpoints whose losses are 1 but for the second endpoint's, and 1 but for those of mixtures."""

    def evaluate(thetas, mixture):
        losses = torch.where(mixture.max(dim=1).values < 1, conv, 1.0)
        return Evaluation(torch.where(mixture[:, 1] == 1, endpoint, losses.double()), None)

    endpoints = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    return probe_hull(evaluate, endpoints, sample_hull(endpoints, 4, seed=0))


def test_a_loss_that_is_no_number_makes_no_probability():
    with pytest.raises(NotFinite, match="expected the loss of every endpoint to be a number, found nan at endpoint 1"):
        probe_with(endpoint=torch.nan)
    with pytest.raises(NotFinite, match="found inf at endpoint 1"):
        probe_with(endpoint=torch.inf)
    with pytest.raises(NotFinite, match="found nan at hull point 0"):
        probe_with(conv=torch.nan)
    with pytest.raises(NotFinite, match="found -inf at hull point 0"):
        probe_with(conv=-torch.inf)


def test_an_infinite_loss_between_finite_endpoints_is_a_loss_and_not_better():
    probe = probe_with(conv=torch.inf)
    assert not probe.is_conv_better.any() and probe.jensen_gap.isposinf().all()
