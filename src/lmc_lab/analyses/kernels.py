"""Tangent kernels of points of a task, as its questions about them share."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lmc_lab.analyses.base import Choice
from lmc_lab.analyses.evaluation import where
from lmc_lab.analyses.numbers import numbers_only
from lmc_lab.inputs import each
from lmc_lab.landscape.finite import check_losses
from lmc_lab.landscape.parameters import state_at
from lmc_lab.landscape.tangent_kernel import tangent_kernel
from lmc_lab.tasks.arithmetic import float32_products
from lmc_lab.tasks.batch_norm import Buffers
from lmc_lab.tasks.evaluation_settings import EvaluationSettings
from lmc_lab.tasks.output_gradients import OutputGradients
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.tasks.task import Task

_NUMBERS = 2**26  # of the gradients that are computed at a time: 256 MB in float32


class Kernels:
    """Tangent kernels of points of a task, on the same training examples, in eval mode.

    Args:
        task: whose model it is.
        init_seed: of the module in which points are evaluated.
        evaluation: how buffers of a point follow, and where it is evaluated.
        num_examples: training examples, chosen at random once and for all.
        max_outputs: see `OutputGradients`.
    """

    def __init__(
        self, task: Task, init_seed: int, evaluation: EvaluationSettings, *, num_examples: int, max_outputs: int
    ) -> None:
        module, train = task.initialise(init_seed), task.dataset.train
        self._evaluator = PointEvaluator(module, train, evaluation)
        self.device = self._evaluator.device.torch_device
        examples = train.draw(num_examples)
        self._num_examples = len(examples)
        self._inputs = each(lambda tensor: tensor.to(self.device), examples.batch(slice(None))[0])
        self._gradients = OutputGradients(module, self._inputs, max_outputs=max_outputs)
        self._block = max(1, int(_NUMBERS * evaluation.memory) // self._gradients.dimension)

    @property
    def choices(self) -> Sequence[Choice]:
        """Returns how gradients are computed, and where, as rows say it."""
        return Choice("gradients", self._gradients.method), *where(self._evaluator)

    @float32_products()
    def at(self, thetas: Tensor, buffers: Buffers, *names: str) -> Tensor:
        """Returns the kernels of points, float64 (m, n, n) on the CPU.

        Args:
            thetas: parameters (m, D), or (D,) of one.
            buffers: of each, (m, *shape) by name.
            names: of the points, for a sentence.

        Raises:
            UserError: the trace of one is no number.
        """
        thetas = thetas.reshape(len(names), -1)
        points = self._evaluator.points(thetas, torch.eye(len(names), dtype=torch.float64), buffers)
        one_by_one = [self._one(state_at(points, i)) for i in range(len(names))]
        kernels = torch.stack(one_by_one)
        with numbers_only(f"on {self._num_examples} training examples", names):
            traces = kernels.diagonal(dim1=1, dim2=2).sum(dim=1)
            check_losses(traces, "endpoint", what="trace of the tangent kernel")
        return kernels

    def _one(self, state: dict[str, Tensor]) -> Tensor:
        gradients = self._gradients.at(state, self._inputs)
        return tangent_kernel(gradients, self._num_examples, len(self._gradients.directions), block=self._block)
