"""How sure is `p_conv`? Algorithm 1 on many hulls of some of a mode's endpoints."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, final

import torch

from lmc_lab.analyses.base import Choice, Measurement, ModeAnalysis
from lmc_lab.analyses.estimates import probability, share_over_subsets
from lmc_lab.analyses.evaluation import how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.errors import UserError
from lmc_lab.landscape.hulls import probe_hulls, sample_hulls
from lmc_lab.landscape.resampling import draw_subsets
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Seed, at_least


@final
@dataclass(frozen=True, kw_only=True)
class Hulls(ModeAnalysis):
    """`p_conv` of many hulls of P of a mode's n endpoints, and its mean with an interval over endpoints.

    The interval is the delete-d jackknife's (Shao and Wu 1989), d = n - P: the variance is (n - d) / d times the mean square
    deviation of the hulls' `p_conv` from their mean, and the factor is 1 for n = 2 P. It covers which endpoints of this trunk
    and split were drawn, for the mean of `p_conv` over hulls of P of them; it does not cover which trunk was. Wilson's, beside
    each hull, covers which J points of this one hull were drawn, and no other hull.

    It rather errs to be too wide: its expectation is exact where `p_conv` is a sum over a hull's members, and larger
    else (Efron and Stein 1981), and the counting of each hull's J points, p (1 - p) / J, is in the spread, too. Hulls that
    agree all have an interval without width.

    Args:
        num_endpoints: P; half of the mode's for None.
        num_hulls: to draw, of different endpoints; all hulls of P endpoints if there are no more.
        num_samples: J, of each hull.
        seed: of the hulls and the coefficients.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "hulls"
    at_bracket: ClassVar[bool] = True
    num_endpoints: Annotated[int, at_least(2)] | None = None
    num_hulls: Annotated[int, at_least(2)] = 40
    num_samples: Count = 25
    seed: Seed = 0
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice]:
        """Yields how points were evaluated, P, and for each subset the share of each hull (`index`) and their mean.

        Raises:
            UserError: no endpoint would be left out of a hull.
        """
        num_taken = self._num_taken(len(mode))
        evaluator = PointEvaluator(task.initialise(mode.init_seed), task.dataset.train, self.evaluation)
        subsets = self.evaluation.subsets(task.dataset)
        yield from how(evaluator, subsets)
        yield Measurement(quantity="endpoints_per_hull", value=num_taken)
        endpoints = mode.endpoints.to(evaluator.device.torch_device)
        generator = torch.Generator().manual_seed(self.seed)
        members = draw_subsets(len(mode), num_taken, self.num_hulls, generator=generator)
        hulls = sample_hulls(endpoints, members, self.num_samples, generator=generator)
        for subset, examples in subsets.items():
            with numbers_only(f"on the {subset} set", mode.names):
                is_better = probe_hulls(evaluator.evaluate_on(examples, mode.buffers), endpoints, hulls)
            for index, of_hull in enumerate(is_better):
                yield replace(probability("p_conv_hull", of_hull, subset=subset), index=index)
            shares = is_better.double().mean(dim=1)
            yield share_over_subsets("p_conv_hulls", shares, num_members=len(mode), num_taken=num_taken, subset=subset)

    def _num_taken(self, num_endpoints: int) -> int:
        """Returns P of a mode of n endpoints."""
        if self.num_endpoints is None and num_endpoints < 4:
            raise UserError(
                f"expected at least 4 endpoints for hulls of half of them, found {num_endpoints}; train more branches"
            )
        if self.num_endpoints is not None and num_endpoints <= self.num_endpoints:
            raise UserError(
                f"expected more endpoints than the {self.num_endpoints} of each hull, found {num_endpoints}; train more "
                f"branches, or set analysis.{self.name}.num_endpoints to fewer, or to null for half of them"
            )
        return num_endpoints // 2 if self.num_endpoints is None else self.num_endpoints
