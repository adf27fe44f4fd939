"""Algorithm 1: do random points of the hull have lower loss than their nearest endpoint?

Shapes: P endpoints of D parameters, J samples of the hull.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Dirichlet

from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.geometry import column_blocks, differences_gram
from lmc_lab.landscape.statistics import Probability


@dataclass(frozen=True)
class Evaluation:
    """What a loss function says of n points on one set of examples."""

    loss: Tensor  # (n,) float64
    accuracy: Tensor | None  # (n,) float64; None where the task has no right or wrong

    @classmethod
    def join(cls, parts: list["Evaluation"]) -> "Evaluation":
        """Returns the evaluations of several groups of points as one."""
        accuracies = [part.accuracy for part in parts if part.accuracy is not None]
        return cls(torch.cat([part.loss for part in parts]), torch.cat(accuracies) if accuracies else None)

    def separate(self, counts: list[int]) -> list["Evaluation"]:
        """Returns the evaluations of the first `counts[0]` points, of the next `counts[1]`, and so on."""
        losses = torch.split(self.loss, counts)
        accuracies = [None] * len(counts) if self.accuracy is None else torch.split(self.accuracy, counts)
        return [Evaluation(loss, accuracy) for loss, accuracy in zip(losses, accuracies, strict=True)]


# Takes points (n, D) and, for whatever else belongs to a point (buffers), the coefficients (n, P) of the endpoints in it.
Evaluate = Callable[[Tensor, Tensor], Evaluation]


@dataclass(frozen=True)
class LazyPoints:
    """Points that are made when they are evaluated.

    Args:
        count: how many, n.
        make: returns those at a slice, and the coefficients of the endpoints in them, as `Evaluate` takes them.
    """

    count: int
    make: Callable[[slice], tuple[Tensor, Tensor]]


def evaluate_lazily(
    evaluate: Evaluate, groups: Sequence[LazyPoints], *, points_at_a_time: int = 64
) -> list[Evaluation]:
    """Returns the evaluation of each group.

    Points are made and evaluated some at a time, whichever groups they are of: memory is bounded by `points_at_a_time` x D,
    and only the last time are there fewer.
    """
    counts = [group.count for group in groups]
    ranges = (range(start, start + points_at_a_time) for start in range(0, sum(counts), points_at_a_time))
    return Evaluation.join([evaluate(*_points(groups, numbers)) for numbers in ranges]).separate(counts)


def _points(groups: Sequence[LazyPoints], numbers: range) -> tuple[Tensor, Tensor]:
    """Returns the points whose numbers in the sequence of all groups are in `numbers`, as far as there are some."""
    parts, start = [], 0
    for group in groups:
        first, stop = max(numbers.start - start, 0), min(numbers.stop - start, group.count)
        if first < stop:
            parts.append(group.make(slice(first, stop)))
        start += group.count
    thetas, coefficients = zip(*parts, strict=True)
    return torch.cat(thetas), torch.cat(coefficients)


@dataclass(frozen=True)
class HullSample:
    """J random hull points of P endpoints, with what Algorithm 1 needs to perturb their nearest endpoints equally far."""

    coefficients: Tensor  # (J, P) float64, a^j of Algorithm 1, rows in the simplex
    nearest: Tensor  # (J,) int64, index of W_end
    distance: Tensor  # (J,) float64, ||W_conv - W_end||
    noise_seeds: Tensor  # (J,) int64, one a sample, so that no perturbation depends on how samples are grouped
    movable: Tensor | None = None  # (D,) bool, the coordinates in which a perturbation moves; all of them for None

    def __len__(self) -> int:
        return len(self.coefficients)

    def rows(self, cut: slice) -> "HullSample":
        """Returns the samples at a slice."""
        return HullSample(
            self.coefficients[cut], self.nearest[cut], self.distance[cut], self.noise_seeds[cut], self.movable
        )


MIN_CONCENTRATION = 0.01


def sample_hull(
    endpoints: Tensor, num_samples: int, *, seed: int, concentration: float = 1.0, movable: Tensor | None = None
) -> HullSample:
    """Draws `num_samples` points of the hull of `endpoints` (P, D), by default uniformly on the simplex.

    Args:
        endpoints: the vertices, (P, D).
        num_samples: J.
        seed: of the coefficients and of the perturbations.
        concentration: of the symmetric Dirichlet distribution of the coefficients; 1 is uniform, as in Algorithm 1. Below
            `MIN_CONCENTRATION` all gamma variates of a sample may round to zero, and its point be the centre: 1.5 % of them at
            0.003, 12 % at 0.001.
        movable: the coordinates in which perturbations move, (D,) bool; all for None, and where it has none. The hull lies
            in those that were trained: noise in others (frozen or unused parameters) would take length from what was.

    Raises:
        ValueError: fewer than two endpoints, no samples, or a concentration that is too small.
    """
    if concentration < MIN_CONCENTRATION:
        raise ValueError(f"expected a concentration >= {MIN_CONCENTRATION}, found {concentration}")
    if len(endpoints) < 2 or num_samples < 1:
        raise ValueError(
            f"expected P >= 2 endpoints and J >= 1 samples, found P = {len(endpoints)} and J = {num_samples}; give more of them"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        concentrations = torch.full((len(endpoints),), concentration, dtype=torch.float64)
        coefficients = Dirichlet(concentrations).sample(torch.Size([num_samples]))
        noise_seeds = torch.randint(2**62, (num_samples,))
    squares = _squared_distances(differences_gram(endpoints).cpu(), coefficients)
    distance, nearest = squares.clamp(min=0).sqrt().min(dim=1)
    return HullSample(
        coefficients, nearest, distance, noise_seeds, movable if movable is not None and movable.any() else None
    )


def _squared_distances(gram: Tensor, coefficients: Tensor) -> Tensor:
    """Returns ||sum_l a_l W_l - W_i||^2 = (a - e_i)' G (a - e_i) for every i, (J, P), from the Gram matrix of differences."""
    projected = coefficients @ gram  # (J, P)
    return (projected * coefficients).sum(dim=1, keepdim=True) - 2 * projected + gram.diagonal()


def hull_points(endpoints: Tensor, coefficients: Tensor) -> Tensor:
    """Returns W_conv (n, D) for coefficients (n, P): base + sum a_i (W_i - base) in float64, rounded once.

    Of equal endpoints every hull point is then exactly that endpoint, which sum a_i W_i in float32 is not.
    """
    coefficients = coefficients.to(endpoints.device)
    blocks = [block[0] + coefficients @ (block - block[0]) for block in column_blocks(endpoints)]
    return torch.cat([block.to(endpoints.dtype) for block in blocks], dim=1)


def centre_of(num_endpoints: int) -> Tensor:
    """Returns the coefficients of P endpoints in their mean, (1, P) float64."""
    return torch.full((1, num_endpoints), 1 / num_endpoints, dtype=torch.float64)


def corners_of(endpoints: Tensor) -> LazyPoints:
    """Returns the endpoints (P, D) themselves."""
    vertices = torch.eye(len(endpoints), dtype=torch.float64)
    return LazyPoints(len(endpoints), lambda cut: (endpoints[cut], vertices[cut]))


def mixtures_of(endpoints: Tensor, coefficients: Tensor, *, of_buffers: Tensor | None = None) -> LazyPoints:
    """Returns the points with these coefficients (n, P), which sum to one; their buffers may be mixed by others (n, P)."""
    mixing = coefficients if of_buffers is None else of_buffers
    return LazyPoints(len(coefficients), lambda cut: (hull_points(endpoints, coefficients[cut]), mixing[cut]))


def matched_perturbations(endpoints: Tensor, sample: HullSample) -> Tensor:
    """Returns W_rand (n, D): the nearest endpoint, moved in a random direction as far as the hull point is from it.

    The direction is one of the sample's `movable` coordinates.
    """
    points = endpoints[sample.nearest.to(endpoints.device)]
    is_here = points.device.type == "cpu"  # where noise is drawn; to elsewhere all of it goes at once
    moved = points if is_here else torch.zeros_like(points, device="cpu")
    for point, distance, noise_seed in zip(moved, sample.distance, sample.noise_seeds, strict=True):
        generator = torch.Generator().manual_seed(int(noise_seed))
        noise = torch.randn(point.shape, generator=generator, dtype=endpoints.dtype)
        if sample.movable is not None:
            noise *= sample.movable
        point += (noise * (float(distance) / noise.norm(dtype=torch.float64))).to(point)
    return points if is_here else points + moved.to(points.device)


@dataclass(frozen=True)
class HullProbe:
    """The losses (and accuracies) of Algorithm 1 on one set of examples, and what follows from them."""

    sample: HullSample
    endpoints: Evaluation  # P
    conv: Evaluation  # J
    rand: Evaluation  # J
    centre: Evaluation  # 1

    def __repr__(self) -> str:
        return f"HullProbe(P = {len(self.endpoints.loss)}, p_conv = {self.p_conv}, p_rand = {self.p_rand})"

    @property
    def is_conv_better(self) -> Tensor:
        """Returns I_conv (J,): the hull point's loss is lower than its nearest endpoint's; a tie is not."""
        return self.conv.loss < self.endpoints.loss[self.sample.nearest]

    @property
    def is_rand_better(self) -> Tensor:
        """Returns I_rand (J,): the matched perturbation's loss is lower than its endpoint's."""
        return self.rand.loss < self.endpoints.loss[self.sample.nearest]

    @property
    def p_conv(self) -> Probability:
        """Returns P_conv of Algorithm 1 (Figure 2, top): the share of hull points better than their nearest endpoint."""
        return Probability.of(self.is_conv_better)

    @property
    def p_rand(self) -> Probability:
        """Returns P_rand of Algorithm 1: the share of matched perturbations better than their endpoint."""
        return Probability.of(self.is_rand_better)

    @property
    def jensen_gap(self) -> Tensor:
        """Returns L(sum a_i W_i) - sum a_i L(W_i), float64 (J,): positive where the loss is not convex over the hull."""
        return self.conv.loss - self.sample.coefficients @ self.endpoints.loss


def probe_hull(evaluate: Evaluate, endpoints: Tensor, sample: HullSample, *, points_at_a_time: int = 64) -> HullProbe:
    """Evaluates the endpoints (P, D), the sampled hull points, their matched perturbations and the hull's centre.

    All come through the same `evaluate`, since a strict ``<`` between them decides; see `evaluate_lazily`. An infinite loss
    beside finite endpoints is a loss, and not lower than theirs.

    Raises:
        NotFinite: an endpoint's loss is not finite, or another point's is NaN.
    """
    vertices = torch.eye(len(endpoints), dtype=torch.float64)

    def perturbations(cut: slice) -> tuple[Tensor, Tensor]:
        return matched_perturbations(endpoints, sample.rows(cut)), vertices[sample.nearest[cut]]

    groups = [
        corners_of(endpoints),
        mixtures_of(endpoints, sample.coefficients),
        LazyPoints(len(sample), perturbations),
        mixtures_of(endpoints, centre_of(len(endpoints))),
    ]
    ends, conv, rand, middle_point = evaluate_lazily(evaluate, groups, points_at_a_time=points_at_a_time)
    check_losses(ends.loss, "endpoint")
    for kind, evaluation in (("hull point", conv), ("perturbation", rand), ("centre", middle_point)):
        check_losses(evaluation.loss, kind, allows_infinity=True)
    return HullProbe(sample, ends, conv, rand, middle_point)
