"""Neural collapse: how close the features of a classifier are to one vector a class, at the corners of a regular simplex.

Features h are what the last linear layer gets. With m_c the mean of those of class c, m_G the mean of the m_c, and W the
weights of that layer, a row a class (Papyan, Han and Donoho 2020, PNAS 117(40), 24652-24663):

    S_W = mean over examples of (h - m_c)(h - m_c)',  S_B = mean over classes of (m_c - m_G)(m_c - m_G)'
    NC1 (their Figure 6): tr(S_W S_B^+) / K
    NC2 (Figure 2): deviation of |m_c - m_G| over classes, over its mean;
        (Figure 3): deviation of the cosines of m_c - m_G and m_c' - m_G over pairs of classes;
        (Figure 4): mean over pairs of |cosine + 1 / (K - 1)|
    NC3 (Figure 5): |W / |W| - M / |M||^2, M the rows m_c - m_G, norms those of Frobenius

All are 0 at complete collapse, and do not change with the scale of the features. S_B has rank K - 1 at most, and S_B^+
keeps as many eigenvalues. Where classes differ in size, S_W is a mean over examples, m_G and S_B over classes. Deviations
are those of a population, since all classes are there. Beside other code: much of it leaves out the division of NC1 by
K, and takes deviations of a sample.

Shapes: n points, B examples, K classes, D features, P endpoints. All statistics are float64.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class ClassMeans:
    """The mean features of K classes at n points."""

    counts: Tensor  # (K,), examples of each class
    means: Tensor  # (n, K, D), zero where there is no example

    @classmethod
    def of(cls, features: Tensor, classes: Tensor, num_classes: int) -> "ClassMeans":
        """Returns the means of features (n, B, D) of examples of `classes`, int64 (B,)."""
        members = F.one_hot(classes, num_classes).double()
        counts = members.sum(dim=0)
        return cls(counts, members.T @ features.double() / counts.clamp(min=1)[:, None])

    def __add__(self, other: "ClassMeans") -> "ClassMeans":
        """Returns the means over the examples of both."""
        counts = self.counts + other.counts
        share = (other.counts / counts.clamp(min=1))[:, None]
        return ClassMeans(counts, self.means + share * (other.means - self.means))


@dataclass(frozen=True)
class ClassMoments:
    """Class means, and how features scatter around them, at n points."""

    classes: ClassMeans
    scatter: Tensor  # (n, D, D), the sum over examples of (h - m_c)(h - m_c)'
    norms: Tensor  # (n,), the sum over examples of |h|

    @classmethod
    def of(cls, features: Tensor, classes: Tensor, num_classes: int) -> "ClassMoments":
        """Returns the moments of features (n, B, D) of examples of `classes`, int64 (B,)."""
        means = ClassMeans.of(features, classes, num_classes)
        centred = features.double() - means.means[:, classes]
        return cls(means, centred.mT @ centred, features.double().norm(dim=-1).sum(dim=-1))

    def __add__(self, other: "ClassMoments") -> "ClassMoments":
        """Returns the moments over the examples of both, without cancellation (Chan, Golub and LeVeque 1983)."""
        first, second = self.classes, other.classes
        apart = second.means - first.means
        weights = first.counts * second.counts / (first.counts + second.counts).clamp(min=1)
        between = (weights[:, None] * apart).mT @ apart
        return ClassMoments(first + second, self.scatter + other.scatter + between, self.norms + other.norms)

    @property
    def num_examples(self) -> int:
        """Returns N."""
        return int(self.classes.counts.sum())


@dataclass(frozen=True)
class Collapse:
    """How far n points are from collapse, float64 (n,); NaN where all class means are equal."""

    nc1: Tensor
    nc2_equinorm: Tensor  # deviation of the norms of centred class means, over their mean
    nc2_equiangular: Tensor  # deviation of their cosines
    nc2_maximal_angle: Tensor  # mean distance of their cosines from -1 / (K - 1), those of a regular simplex
    nc3: Tensor
    feature_norm: Tensor  # mean over examples of |h|

    @classmethod
    def of(cls, moments: ClassMoments, weights: Tensor) -> "Collapse":
        """Returns the measures of features with these moments and of the last layer's `weights` (n, K, D)."""
        means = centred(moments.classes.means)
        norms = means.norm(dim=-1)
        cosines = _pairs(class_cosines(moments.classes.means))
        simplex = -1 / (means.shape[1] - 1)
        return cls(
            nc1=_nc1(means, moments.scatter / moments.num_examples),
            nc2_equinorm=norms.std(dim=1, correction=0) / norms.mean(dim=1),
            nc2_equiangular=cosines.std(dim=1, correction=0),
            nc2_maximal_angle=(cosines - simplex).abs().mean(dim=1),
            nc3=(_to_norm_1(weights.double()) - _to_norm_1(means)).square().sum(dim=(1, 2)),
            feature_norm=moments.norms / moments.num_examples,
        )


def centred(means: Tensor) -> Tensor:
    """Returns m_c - m_G of class means (..., K, D)."""
    return means - means.mean(dim=-2, keepdim=True)


def class_cosines(means: Tensor) -> Tensor:
    """Returns the cosines between centred class means (n, K, D), (n, K, K), which no permutation of neurons changes.

    They are NaN for a class whose mean is m_G.
    """
    directions = centred(means)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    return directions @ directions.mT


def cosine_differences(cosines: Tensor) -> Tensor:
    """Returns the root mean square difference between each two of `cosines` (n, K, K) over pairs of classes, (n, n)."""
    pairs = _pairs(cosines)
    return (pairs[:, None] - pairs).square().mean(dim=-1).sqrt()


def class_mean_bend(means: Tensor, of_endpoints: Tensor, coefficients: Tensor) -> Tensor:
    """Returns sum_c |m_c(W_a) - mixed_c|^2 / sum_c |mixed_c - their mean|^2, mixed_c = sum_i a_i m_c(W_i), (n,).

    It is 0 where class means are linear in the parameters over the hull.

    Args:
        means: of n hull points W_a, (n, K, D).
        of_endpoints: class means of the endpoints W_i, (P, K, D).
        coefficients: a, (n, P).
    """
    mixed = torch.tensordot(coefficients.to(of_endpoints), of_endpoints, dims=1)
    return (means - mixed).square().sum(dim=(1, 2)) / centred(mixed).square().sum(dim=(1, 2))


def _nc1(means: Tensor, within: Tensor) -> Tensor:
    """Returns tr(S_W S_B^+) / K (n,) of centred class means (n, K, D) and S_W (n, D, D).

    S_B has the right singular vectors of the means as its eigenvectors. Eigenvalues that are zero but for rounding are
    none, as a pseudo-inverse has it.
    """
    num_classes = means.shape[1]
    _, sizes, directions = torch.linalg.svd(means / num_classes**0.5, full_matrices=False)
    sizes, directions = sizes[:, : num_classes - 1], directions[:, : num_classes - 1]
    scatter = ((directions @ within) * directions).sum(dim=-1)
    is_rounding = sizes <= sizes[:, :1] * max(means.shape[1:]) * torch.finfo(sizes.dtype).eps
    total = (scatter / sizes.square()).masked_fill(is_rounding, 0).sum(dim=1)
    return (total / num_classes).masked_fill(sizes[:, 0] == 0, torch.nan)


def _pairs(matrices: Tensor) -> Tensor:
    """Returns the entries above the diagonal of symmetric matrices (n, K, K), (n, K (K - 1) / 2)."""
    num_classes = matrices.shape[-1]
    rows, columns = torch.triu_indices(num_classes, num_classes, offset=1, device=matrices.device)
    return matrices[:, rows, columns]


def _to_norm_1(matrices: Tensor) -> Tensor:
    return matrices / torch.linalg.matrix_norm(matrices, keepdim=True)
