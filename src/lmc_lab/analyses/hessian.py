"""Both ends of the Hessian's spectrum along training (Figure 4, top): does curvature predict when a hull begins?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self, final

import torch
from torch import Tensor

from lmc_lab.analyses.base import Analysis, Choice, LeftOut, Measurement, ModeAnalysis, TrunkAnalysis
from lmc_lab.analyses.evaluation import where
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.errors import UserError
from lmc_lab.landscape.curvature import NoGradient, NotSymmetric, SpectrumEnds
from lmc_lab.runs.endpoints import Mode
from lmc_lab.runs.states import Trunk
from lmc_lab.tasks.batch_norm import Buffers
from lmc_lab.tasks.curvature import spectrum_ends
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task
from lmc_lab.values import Count, Natural, Positive, Seed, at_least, incidental


@dataclass(frozen=True, kw_only=True)
class _Hessian(Analysis):
    num_examples: Count = 2048
    method: Literal["lanczos", "power"] = "lanczos"
    max_products: Annotated[int, at_least(2, because="there are two ends")] = 100
    tolerance: Positive = 0.01
    seed: Seed = 0
    keep_graph: bool = incidental(True)
    evaluation: EvaluationSettings = EvaluationSettings()

    def with_less_memory(self) -> Self:
        """Returns the same question, to be answered with half of a GPU's memory and without keeping graphs."""
        return replace(super().with_less_memory(), keep_graph=False)

    def evaluator(self, task: Task, init_seed: int) -> PointEvaluator:
        """Returns what evaluates points of the task."""
        return PointEvaluator(task.initialise(init_seed), task.dataset.train, self.evaluation)

    def ends(self, evaluator: PointEvaluator, task: Task, theta: Tensor, buffers: Buffers) -> SpectrumEnds:
        """Returns the ends of the spectrum at theta (D,), on `num_examples` fixed training examples."""
        point = evaluator.points(theta[None], torch.ones(1, 1, dtype=torch.float64), buffers)
        try:
            with numbers_only(f"on {self.num_examples} training examples"):
                return spectrum_ends(
                    evaluator,
                    point,
                    task.dataset.train.draw(self.num_examples),
                    method=self.method,
                    max_products=self.max_products,
                    tolerance=self.tolerance,
                    seed=self.seed,
                    keep_graph=self.keep_graph,
                )
        except NoGradient as error:
            raise UserError(f"{error}; mend task.module, or leave this analysis out") from error
        except NotSymmetric as error:
            raise UserError(
                f"{error}; the loss draws numbers at random in eval mode, or has an operation whose second derivative is "
                "wrong: leave that operation, or this analysis, out"
            ) from error


@final
@dataclass(frozen=True, kw_only=True)
class TrunkHessian(_Hessian, TrunkAnalysis):
    """lambda_min, lambda_max and their ratio at the states of a trunk.

    The loss is that of eval mode; the moments of a BatchNorm layer follow the policy and are constants, and so are frozen
    parameters.

    Args:
        steps: of the states; all that are saved for None.
        num_examples: training examples, chosen at random once and for all, over which the loss is a mean.
        method: ``lanczos`` (one run with full reorthogonalisation) or ``power`` (the paper's power iteration, shifted).
        max_products: Hessian-vector products after which it gives up; `is_converged` is then 0.
        tolerance: relative residual at which an end has converged.
        seed: of the starting vector.
        keep_graph: the gradient's graph is kept for all products; without it each makes the graph anew, but only that
            of some examples is in memory at a time.
        evaluation: the BatchNorm policy.
    """

    name: ClassVar[str] = "trunk_hessian"
    steps: Sequence[Natural] | None = None

    def measure(self, trunk: Trunk, task: Task) -> Iterator[Measurement | Choice]:
        """Yields the ends with their residuals at each state."""
        evaluator = self.evaluator(task, trunk.trunk_seed)
        yield from where(evaluator)
        for state in trunk.states:
            yield from _rows(self.ends(evaluator, task, state.theta, state.buffers), state.step, None)


@final
@dataclass(frozen=True, kw_only=True)
class BranchHessian(_Hessian, ModeAnalysis):
    """The same along branches and at their endpoints; see `TrunkHessian`.

    Args:
        steps: of the branch on its way; those before the split are the trunk's, and left out.
        num_branches: the first branches of the mode: those with the smallest seeds.
    """

    name: ClassVar[str] = "branch_hessian"
    steps: Sequence[Natural] = ()
    num_branches: Count = 1

    def measure(self, mode: Mode, task: Task) -> Iterator[Measurement | Choice | LeftOut]:
        """Yields the ends with their residuals at each step and at the endpoint, whose step may be unknown."""
        training, evaluator = mode.training, self.evaluator(task, mode.init_seed)
        yield from where(evaluator)
        yield from self.without_states(mode)
        for i, branch in enumerate(mode.branches[: self.num_branches]):
            for state in training.states_of(i) if training else ():
                yield from _rows(self.ends(evaluator, task, state.theta, state.buffers), state.step, branch)
            buffers = {name: values[i : i + 1] for name, values in mode.buffers.items()}
            ends = self.ends(evaluator, task, mode.endpoints[i], buffers)
            yield from _rows(ends, training.last_step if training else None, branch)


def _rows(ends: SpectrumEnds, step: int | None, branch: int | None) -> Iterator[Measurement]:
    values = {
        "lambda_min": ends.lambda_min,
        "lambda_max": ends.lambda_max,
        "hessian_ratio": ends.ratio,
        "residual_min": ends.residual_min,
        "residual_max": ends.residual_max,
        "num_products": ends.num_products,
        "is_converged": float(ends.is_converged),
    }
    for quantity, value in values.items():
        yield Measurement(quantity=quantity, value=value, step=step, branch=branch)
