"""Which examples make the barrier between endpoints: those that not all have right, or those that were hard at the split?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isnan
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Answer, LeftOut, Measurement, ModeAnalysis, Record
from lmc_lab.analyses.estimates import bootstrap_pair_mean, mean, symmetric
from lmc_lab.analyses.evaluation import evaluated_index, how
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.data.examples import Examples
from lmc_lab.landscape.example_barriers import ExampleBarriers, error_norms, rank_groups
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.hull import hull_points
from lmc_lab.landscape.lines import midpoint_coefficients, pairs_of
from lmc_lab.landscape.predictions import intra_mode
from lmc_lab.landscape.rank_correlation import rank_correlation
from lmc_lab.runs.endpoints import Mode
from lmc_lab.tasks.classification import Classification
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, at_least

_NUM_GROUPS = 10  # of examples by EL2N


@final
@dataclass(frozen=True, kw_only=True)
class BarriersByExample(ModeAnalysis):
    """How much the loss of each training example at the midpoint of two endpoints is above the mean of both.

    Its mean over pairs is compared with S_j, which examples all endpoints have right, and with EL2N, the norm of the error of
    the probabilities at W_k (see `landscape.example_barriers`). EL2N is an expectation over runs; here it is that of one trunk.
    A task without right and wrong has no S_j, one without classes no EL2N. Intervals of barriers are a bootstrap over
    endpoints, the one of the correlation over examples.

    Args:
        num_endpoints: all pairs of this many endpoints, the first of the mode; S_j is that of all.
        num_resamples: of the examples, for the interval of the correlation.
        evaluation: how the loss of a point is computed.
    """

    name: ClassVar[str] = "example_barriers"
    num_endpoints: Annotated[int, at_least(2)] = 5
    num_resamples: Count = 500
    evaluation: EvaluationSettings = EvaluationSettings()

    def measure(self, mode: Mode, task: Task) -> Iterator[Answer]:
        """Yields mean barriers of all examples, in S_j and outside, and by EL2N; beside the rows both of each example."""
        module = task.initialise(mode.init_seed)
        evaluator = PointEvaluator(module, task.dataset.train, self.evaluation)
        train = self.evaluation.examples(task.dataset.train)
        yield from how(evaluator, {"train": train})
        with numbers_only("on the train set", mode.names):
            barriers, is_right = self._barriers(evaluator, mode, train)
        yield _over_pairs("example_barrier", barriers, barriers.values.mean(dim=1))
        yield _over_pairs("p_example_barrier", barriers, (barriers.values > 0).double().mean(dim=1))
        yield Record("train_example_barrier", barriers.by_example.float())
        yield from evaluated_index(self.evaluation, "train", task.dataset.train)
        parts = {} if is_right is None else {"shared": intra_mode(is_right), "unshared": ~intra_mode(is_right)}
        if parts:
            yield Measurement(quantity="shared_share", value=float(parts["shared"].double().mean()), subset="train")
        for name, examples in parts.items():
            if examples.any():
                yield _over_pairs(f"example_barrier_{name}", barriers, barriers.mean_over(examples))
        if mode.training is None:
            yield LeftOut("EL2N at W_k")
        elif not isinstance(module, Classification) or train.targets.dim() > 1:
            yield LeftOut("EL2N", "since examples have no class each")
        else:
            yield from self._by_el2n(barriers, _el2n(evaluator, mode, train), parts)

    def _barriers(
        self, evaluator: PointEvaluator, mode: Mode, train: Examples
    ) -> tuple[ExampleBarriers, Tensor | None]:
        """Returns the barriers on training examples, and which of them each endpoint has right, bool (P, N)."""
        endpoints = mode.endpoints.to(evaluator.device.torch_device)
        vertices = torch.eye(len(mode), dtype=torch.float64)
        num_taken = min(self.num_endpoints, len(mode))
        halves = midpoint_coefficients(num_taken) @ vertices[:num_taken]
        losses, is_right = evaluator.judge_each(evaluator.points(endpoints, vertices, mode.buffers), train)
        check_losses(losses.mean(dim=1), "endpoint")
        points = evaluator.points(hull_points(endpoints, halves), halves, mode.buffers)
        middles, _ = evaluator.judge_each(points, train)
        check_losses(middles.mean(dim=1), "point between", allows_infinity=True)
        return ExampleBarriers.of(losses[:num_taken], middles), is_right

    def _by_el2n(self, barriers: ExampleBarriers, el2n: Tensor, parts: Mapping[str, Tensor]) -> Iterator[Answer]:
        """Yields the rank correlation of EL2N and barrier over examples, and the mean barrier of each tenth by EL2N."""
        yield Record("train_el2n", el2n.float())
        correlation = rank_correlation(el2n, barriers.by_example, num_resamples=self.num_resamples)
        row = Measurement(
            quantity="el2n_barrier_correlation", value=correlation.value, low=correlation.low, high=correlation.high
        )
        if not isnan(correlation.value):
            yield replace(row, num_samples=correlation.num_pairs, subset="train")
        num_groups = min(_NUM_GROUPS, len(el2n))
        groups = rank_groups(el2n, num_groups)
        for group in range(num_groups):
            row = _over_pairs("example_barrier_by_el2n", barriers, barriers.mean_over(groups == group))
            yield replace(row, index=group + 1)
        for name, examples in parts.items():
            if examples.any():
                yield mean(f"el2n_{name}", el2n[examples], subset="train")


def _over_pairs(quantity: str, barriers: ExampleBarriers, values: Tensor) -> Measurement:
    """Returns the mean of a value of each pair, (Q,)."""
    pairs = dict(zip(pairs_of(barriers.num_endpoints), values.tolist(), strict=True))
    return bootstrap_pair_mean(quantity, symmetric(pairs, barriers.num_endpoints), subset="train")


def _el2n(evaluator: PointEvaluator, mode: Mode, train: Examples) -> Tensor:
    """Returns the error norm of each training example at W_k, float64 (N,)."""
    assert mode.training is not None
    state = mode.training.trunk.states[-1]
    point = evaluator.points(state.theta[None], torch.ones(1, 1, dtype=torch.float64), state.buffers)
    norms: list[Tensor] = []
    evaluator.visit_outputs(
        point,
        train,
        lambda _, outputs, targets: norms.append(error_norms(outputs[0], targets).cpu()),
    )
    return torch.cat(norms)
