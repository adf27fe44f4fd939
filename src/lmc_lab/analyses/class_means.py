"""Class means of features inside a hull, where they may be linear in the parameters, and in hulls of several trunks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Answer, JointAnalysis, LeftOut, Measurement, ModeAnalysis, Record
from lmc_lab.analyses.class_features import OF_TWO_CLASSES, class_means, endpoint_means, known, with_features
from lmc_lab.analyses.estimates import mean, pair_mean
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.landscape.hull import centre_of, hull_points, sample_hull
from lmc_lab.landscape.neural_collapse import class_cosines, class_mean_bend, cosine_differences
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.modes import Modes
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.features import Features
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Seed


@final
@dataclass(frozen=True, kw_only=True)
class HullCollapse(ModeAnalysis):
    """Whether class means are linear in the parameters over a hull: see `landscape.neural_collapse.class_mean_bend`.

    Args:
        num_samples: J; the points are the first J of `convex_mode` with the same seed and number.
        seed: of the hull points.
        evaluation: how features of a point are computed.
    """

    name: ClassVar[str] = "hull_collapse"
    num_samples: Count = 100
    seed: Seed = 0
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Answer]:
        """Yields the mean bend over hull points, that of the hull's centre, and that of each point (`index`)."""

        def find(features: Features) -> Iterator[Answer]:
            bends = self._bends(features, mode, task)
            measurements = [mean("class_mean_bend", bends[:-1], subset="train")]
            measurements.append(Measurement(quantity="centre_class_mean_bend", value=float(bends[-1]), subset="train"))
            measurements += [
                Measurement(quantity="point_class_mean_bend", value=value, subset="train", index=index)
                for index, value in enumerate(bends[:-1].tolist())
            ]
            yield from known(measurements)

        yield from with_features(task, mode.init_seed, self.evaluation, find)

    def _bends(self, features: Features, mode: Mode, task: Task) -> Tensor:
        """Returns the bend at J hull points and at the centre, (J + 1,)."""
        endpoints = mode.endpoints.to(features.evaluator.device.torch_device)
        drawn = sample_hull(endpoints, self.num_samples, seed=self.seed).coefficients
        coefficients = torch.cat([drawn, centre_of(len(mode))])
        of_endpoints = endpoint_means(features, mode, task)
        points = hull_points(endpoints, coefficients)
        with numbers_only("in its features"):
            means = class_means(features, task, points, coefficients, mode.buffers, kind="hull point")
        return class_mean_bend(means, of_endpoints, coefficients)


@final
@dataclass(frozen=True, kw_only=True)
class InterCollapse(JointAnalysis):
    """Whether modes of several trunks have the same geometry of classes, whatever the order of their neurons.

    Compared are the cosines between centred class means, which no permutation of neurons changes: the root mean square of
    their differences over pairs of classes. Of two classes, which have one such cosine, -1, there are no rows.

    Args:
        evaluation: how features of a point are computed.
    """

    name: ClassVar[str] = "inter_collapse"
    version: ClassVar[int] = 3
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, modes: Modes, task: Task) -> Iterator[Answer]:
        """Yields the mean difference between two endpoints of one mode, and of two modes, and all cosines (M P, K, K)."""

        def find(features: Features) -> Iterator[Answer]:
            if len(features.classes) == 2:
                yield LeftOut("differences of angles between classes", OF_TWO_CLASSES)
                return
            others = [
                Features(task.initialise(mode.init_seed), task.dataset.train, self.evaluation)
                for mode in modes.members[1:]
            ]
            of_modes = zip([features, *others], modes, strict=True)
            means = [endpoint_means(own, mode, task) for own, mode in of_modes]
            cosines = class_cosines(torch.cat(means)).cpu()
            is_one_mode = modes.of_mode[:, None] == modes.of_mode
            differences = cosine_differences(cosines)
            for kind, counted in (("intra", is_one_mode), ("inter", ~is_one_mode)):
                quantity = f"class_cosine_difference_{kind}"
                yield from known([pair_mean(quantity, differences, counted=counted, subset="train")])
            yield Record("class_cosines", cosines)

        yield from with_features(task, modes.members[0].init_seed, self.evaluation, find)
