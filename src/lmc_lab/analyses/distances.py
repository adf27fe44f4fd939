"""How large is a hull beside the trajectory that led to it (Figure 2, bottom)?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from lmc_lab.analyses.base import LeftOut, Measurement, ModeAnalysis
from lmc_lab.analyses.estimates import mean, pair_mean
from lmc_lab.landscape.geometry import centre, distances_to, pairwise_distances
from lmc_lab.landscape.hull import sample_hull
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.training import Training
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Seed


@final
@dataclass(frozen=True, kw_only=True)
class Distances(ModeAnalysis):
    """Euclidean distances between endpoints, hull points, W_k and W_0, the path's length and the hull's radius.

    Args:
        num_samples: hull points.
        seed: of the hull points.
    """

    name: ClassVar[str] = "distances"
    over_time: ClassVar[bool] = True
    num_samples: Count
    seed: Seed = 0

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | LeftOut]:
        """Yields one row a distance; those to W_k and W_0 are of endpoints that were trained here."""
        endpoints = mode.endpoints
        sample = sample_hull(endpoints, self.num_samples, seed=self.seed)
        yield pair_mean("endpoint_endpoint", pairwise_distances(endpoints))
        yield mean("endpoint_hull_point", sample.distance)
        if mode.training is None:
            yield LeftOut("distances to W_k and W_0, and lengths of paths")
        else:
            yield from _on_the_way(endpoints, mode.training)
        yield mean("hull_radius", distances_to(endpoints, centre(endpoints)))


def _on_the_way(endpoints: Tensor, training: Training) -> Iterator[Measurement]:
    """Yields the distances between endpoints (P, D), W_k and W_0, and the mean length of the paths."""
    yield mean("endpoint_split", distances_to(endpoints, training.at_split))
    yield mean("endpoint_start", distances_to(endpoints, training.at_start))
    yield mean("split_start", distances_to(training.at_split[None], training.at_start))
    yield mean("path_length", training.path_lengths)
