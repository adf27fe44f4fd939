"""Chaos of training: how fast SGD drives two neighbours apart, by the tangent of its steps along a trajectory.

A step of SGD maps x = (theta, v), with v the momentum buffer, by (`torch.optim.SGD`; L_t is the loss of batch t)

    g = grad L_t(theta) + lambda theta,  v' = mu v + g,  theta' = theta - eta v',

with Nesterov's momentum theta' = theta - eta (g + mu v'). A small difference (u, w) of two states it maps by

    p = H_t u + lambda u,  w' = mu w + p,  u' = u - eta w'  (Nesterov: u - eta (p + mu w')),

with one product of the Hessian H_t of L_t at theta. The length of a difference is (|u|^2 + |eta w|^2)^(1/2): that by which
momentum will move theta counts as a distance. The finite-time Lyapunov exponent is the mean over steps of the log of the
factor by which the length grows, with the difference rescaled to length 1 after each (Benettin et al. 1980, Meccanica
15, 9-20 and 21-30). On a quadratic it tends to the log of the step's spectral radius. That of trained networks, from
distances between copies in place of tangents: Danovski, Soriano and Lacasa 2024 (arXiv 2404.05782).

Shapes: m differences, D parameters, n steps. Logs are natural, and sums of them float64.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lmc_lab.landscape.finite import check_losses

Products = Callable[[Tensor], Tensor]  # u (m, D) -> H u (m, D)


@dataclass(frozen=True)
class Differences:
    """Small differences between two states of an optimizer."""

    theta: Tensor  # (m, D)
    velocity: Tensor  # (m, D), of the momentum buffer


@dataclass(frozen=True)
class SGDStep:
    """A step of SGD as it acts on small differences; each setting is (D,), that of each parameter.

    Args:
        lr: eta; 0 for what no gradient reaches, which the step leaves alone.
        momentum: mu; parameters without momentum have no v.
        weight_decay: lambda.
        nesterov: 1 for Nesterov's momentum, else 0.
    """

    lr: Tensor
    momentum: Tensor
    weight_decay: Tensor
    nesterov: Tensor

    def __call__(self, before: Differences, products: Products) -> Differences:
        """Returns the differences after the step."""
        change = products(before.theta) + self.weight_decay * before.theta
        velocity = self.momentum * before.velocity + change
        moved = torch.where(self.nesterov != 0, change + self.momentum * velocity, velocity)
        return Differences(before.theta - self.lr * moved, velocity.where(self.momentum != 0, 0.0))

    def lengths(self, differences: Differences) -> Tensor:
        """Returns the length of each difference, (m,) float64."""
        parts = torch.cat([differences.theta, self.lr * differences.velocity], dim=1)
        return torch.linalg.vector_norm(parts, dim=1, dtype=torch.float64)


@dataclass(frozen=True)
class Growth:
    """Logs of the lengths of m differences after each of n steps, that of theta alone at the beginning being 0."""

    whole: Tensor  # (n + 1, m) float64
    of_theta: Tensor  # (n + 1, m) float64, of their part in theta

    def exponents(self, first: int) -> Tensor:
        """Returns the mean log of a step's factor over the steps from number `first` on, (m,)."""
        return (self.whole[-1] - self.whole[first]) / (len(self.whole) - 1 - first)

    def rates_of_theta(self) -> Tensor:
        """Returns the mean log of a step's factor in theta alone, over all steps, (m,)."""
        return self.of_theta[-1] / (len(self.of_theta) - 1)


def growth(steps: Iterable[tuple[SGDStep, Products]], directions: Tensor) -> Growth:
    """Returns how differences grow that begin in theta alone, in the parameters that the first step moves, if it moves any.

    A difference in another one would stay as it is, and be all that is left once the others have shrunk.

    Args:
        steps: at least one, each with the Hessian's products of its batch at its theta.
        directions: (m, D), whose lengths do not matter.

    Raises:
        NotFinite: a difference becomes NaN or infinite.
    """
    total = torch.zeros(len(directions), dtype=torch.float64, device=directions.device)
    whole, of_theta = [total], [total]
    differences = None
    for step, products in steps:
        if differences is None:
            moved = directions.where(step.lr != 0, 0.0)
            theta = torch.nn.functional.normalize(moved if moved.any() else directions, dim=1)
            differences = Differences(theta, torch.zeros_like(theta))
        differences = step(differences, products)
        lengths = step.lengths(differences)
        check_losses(lengths.cpu(), "direction", what="length of the difference")
        norms = torch.linalg.vector_norm(differences.theta, dim=1, dtype=torch.float64)
        of_theta.append(total + norms.log())
        total = total + lengths.log()
        whole.append(total)
        scale = lengths.where(lengths > 0, 1.0).to(directions)[:, None]
        differences = Differences(differences.theta / scale, differences.velocity / scale)
    return Growth(torch.stack(whole).cpu(), torch.stack(of_theta).cpu())
