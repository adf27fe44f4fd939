"""The measurements of the suite for a model of one's own: `import lmc_lab`, without a config or a trainer.

Each function is the code behind the suite's rows. With one torch thread, as the suite's commands have
(`torch.set_num_threads(1)`), the numbers are equal to the last bit.

Shapes: P state dicts of D parameters, J samples of the hull, N examples.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lmc_lab.data.from_loader import Data, examples_of
from lmc_lab.errors import UserError
from lmc_lab.landscape import hull, spectrum
from lmc_lab.landscape.curvature import SpectrumEnds
from lmc_lab.landscape.hull import Evaluate, Evaluation, HullProbe
from lmc_lab.landscape.lines import LineProbe, probe_lines
from lmc_lab.landscape.predictions import SharedCorrect
from lmc_lab.landscape.spectrum import EndpointSpectrum
from lmc_lab.tasks import objective as on_task
from lmc_lab.tasks.curvature import spectrum_ends
from lmc_lab.tasks.layout import StateLayout
from lmc_lab.tasks.mean_loss import LossFunction
from lmc_lab.tasks.model_with_loss import IsCorrect, ModelWithLoss
from lmc_lab.tasks.state_dicts import StateDict, points_of


@final
class Objective:
    """The loss of a model on fixed examples, as a function of its weights.

    The loss of a point is the mean over all examples, in eval mode and in the precision of the model's own weights, summed
    in float64. The model is left as it is, in its mode and with its weights; it may be trained on.

    Args:
        model: any module that maps one tensor (B, ...) to one tensor (B, ...), on the CPU. Its parameters are the
            coordinates of a point; their values do not matter.
        loss: `loss(outputs, targets)`, the mean over the examples of a batch, a scalar, like
            `torch.nn.functional.cross_entropy`. That it is a mean is tried on 64 examples. The loss of an example is
            that of a batch of it alone; it is fast where `torch.func.vmap` can compute it.
        data: inputs (N, ...) and targets (N, ...), or a DataLoader of such batches. It is read once, into memory, and once
            more to see that it gives the same examples in the same order.
        train_data: the training set, from which `reestimate` takes its batch; `data` for None.
        is_correct: `is_correct(outputs, targets)` -> bool (B,), which examples are right. None: where targets are whole
            numbers (N,) and outputs (N, classes), those whose largest output is the target; else there is no accuracy.
        bn_policy: where the moments of BatchNorm layers come from at a point that was never trained at. ``reestimate``: from
            one fixed batch, at every point, as if in train mode; ``interpolate``: mixed as the weights are; ``keep``: those
            of the state dict with the largest weight. Without effect for models without BatchNorm.
        num_bn_examples: in the batch of `reestimate`.

    Raises:
        UserError: one of them is not as said here; the sentence tells what to do.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: LossFunction,
        data: Data,
        *,
        train_data: Data | None = None,
        is_correct: IsCorrect | None = None,
        bn_policy: Literal["reestimate", "interpolate", "keep"] = "reestimate",
        num_bn_examples: int = 2048,
    ) -> None:
        settings = on_task.EvaluationSettings(bn_policy=bn_policy, num_bn_examples=num_bn_examples)
        _check_model(model)
        self.model = model
        self.examples = examples_of(data, "data")
        train = self.examples if train_data is None else examples_of(train_data, "train_data")
        with _evaluating(model):
            task = ModelWithLoss(model, loss, self.examples, is_correct=is_correct)
            self._on_task = on_task.Objective(task, train, settings)

    @property
    def method(self) -> str:
        """Returns how points are evaluated: side by side (``stacked``), or one by one (``loop``) and why."""
        return self._on_task.method

    def evaluate(self, states: Sequence[StateDict]) -> Evaluation:
        """Returns loss and accuracy of each of P state dicts, float64 (P,).

        Raises:
            UserError: one is not of this model.
        """
        thetas, buffers = points_of(self.model, states)
        return self._evaluator(buffers)(thetas, torch.eye(len(thetas), dtype=torch.float64))

    def _evaluator(self, buffers: Mapping[str, Tensor]) -> Evaluate:
        """Returns what the functions of `landscape` take, for points that are mixtures of endpoints with these buffers."""
        evaluate = self._on_task.evaluator(self.examples, _of_task(buffers))

        def in_eval_mode(thetas: Tensor, mixture: Tensor) -> Evaluation:
            with _evaluating(self.model):
                return evaluate(thetas, mixture)

        return in_eval_mode

    def _points(self, states: Sequence[StateDict]) -> Mapping[str, Tensor]:
        thetas, buffers = points_of(self.model, states)
        return self._on_task.points(thetas, torch.eye(len(thetas), dtype=torch.float64), _of_task(buffers))


def probe_hull(
    objective: Objective,
    states: Sequence[StateDict],
    *,
    num_samples: int = 100,
    seed: int = 0,
    concentration: float = 1.0,
) -> HullProbe:
    """Asks whether random points of the hull of P state dicts have lower loss than their nearest one (Algorithm 1).

    `p_conv` and `p_rand` of the answer are the curves of Figure 2, top, at one split step; its losses and accuracies are
    those of Figure 5, top. Perturbations move in the tensors in which the state dicts differ.

    Args:
        objective: whose loss is compared.
        states: P >= 2 state dicts, the corners of the hull.
        num_samples: J, of hull points, and of perturbations.
        seed: of both.
        concentration: of the Dirichlet distribution of the coefficients; 1 is uniform on the simplex, as in the paper.

    Raises:
        UserError: a state dict is not of this model.
        ValueError: fewer than two, or no samples.
        NotFinite: the loss of a state dict is NaN or infinite, or that of another point NaN.
    """
    thetas, buffers = points_of(objective.model, states)
    movable = StateLayout.of(objective.model).parameters.varying(thetas)
    sample = hull.sample_hull(thetas, num_samples, seed=seed, concentration=concentration, movable=movable)
    return hull.probe_hull(objective._evaluator(buffers), thetas, sample)


def barrier(objective: Objective, first: StateDict, second: StateDict, *, num_points: int = 11) -> LineProbe:
    """Returns loss and error on the line between two state dicts (Frankle et al. 2020, arXiv:1912.05671).

    `barrier` of a profile is the largest height above the chord, `instability` that above the mean of the ends.

    Args:
        objective: whose loss it is.
        first: at one end.
        second: at the other end.
        num_points: on the line, both ends included; Frankle et al. take 30, an odd number has the midpoint among them.

    Raises:
        UserError: a state dict is not of this model.
        ValueError: fewer than three points.
        NotFinite: the loss at an end is NaN or infinite, or that of a point between is NaN.
    """
    thetas, buffers = points_of(objective.model, [first, second])
    return probe_lines(objective._evaluator(buffers), thetas, num_points=num_points)[0, 1]


def extreme_eigenvalues(
    objective: Objective,
    state: StateDict,
    *,
    num_examples: int = 2048,
    method: Literal["lanczos", "power"] = "lanczos",
    max_products: int = 100,
    tolerance: float = 0.01,
    seed: int = 0,
    keep_graph: bool = True,
) -> SpectrumEnds:
    """Returns both ends of the spectrum of the loss's Hessian, whose ratio is Figure 4, top (Appendix B).

    Frozen parameters, buffers and moments of BatchNorm layers are constants.

    Args:
        objective: whose Hessian it is.
        state: at which.
        num_examples: over which the loss is a mean, chosen at random once and for all.
        method: ``lanczos`` (one run with full reorthogonalisation) or ``power`` (the paper's power iteration, shifted).
        max_products: Hessian-vector products after which it gives up; `is_converged` then says so.
        tolerance: relative residual at which an end has converged.
        seed: of the starting vector.
        keep_graph: the gradient's graph is kept for all products; without it each makes the graph anew, but only one
            chunk of the examples is in memory.

    Raises:
        UserError: the state dict is not of this model.
        NoGradient: the loss is no differentiable function of the weights.
        NotSymmetric: a second derivative is wrong, or the loss draws numbers at random.
        NotFinite: a product is NaN or infinite.
    """
    with _evaluating(objective.model):
        return spectrum_ends(
            objective._on_task,
            objective._points([state]),
            objective.examples.draw(num_examples),
            method=method,
            max_products=max_products,
            tolerance=tolerance,
            seed=seed,
            keep_graph=keep_graph,
        )


def singular_values(model: nn.Module, states: Sequence[StateDict], *, centred: bool) -> EndpointSpectrum:
    """Returns the singular values of P stacked state dicts (section 2, Figure 3); buffers are left out.

    Args:
        model: says which tensors are parameters.
        states: P state dicts.
        centred: subtract their mean first. The raw values, which the paper shows, are led by the distance of the mode from
            the origin; that at most P - 1 of them are not zero holds for the centred ones.

    Raises:
        UserError: a state dict is not of this model.
    """
    _check_model(model)
    return spectrum.singular_values(points_of(model, states)[0], centred=centred)


def shared_correct(objective: Objective, states: Sequence[StateDict]) -> SharedCorrect:
    """Returns which examples each of P state dicts has right, and which all have (section 4; Figure 5, bottom row).

    Args:
        objective: on whose examples.
        states: P state dicts.

    Raises:
        UserError: a state dict is not of this model, or the objective has no right and wrong.
        NotFinite: the loss of a state dict is NaN or infinite.
    """
    with _evaluating(objective.model):
        masks = objective._on_task.correct_masks(objective._points(states), objective.examples)
    if masks is None:
        raise UserError(
            "expected an objective with right and wrong, found neither labels nor is_correct; "
            "give Objective(..., is_correct=...)"
        )
    return SharedCorrect(masks)


def _of_task(buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the buffers under the names that they have in a module around the model."""
    return {f"model.{name}": values for name, values in buffers.items()}


def _check_model(model: nn.Module) -> None:
    tensors = [*model.parameters(), *model.buffers()]
    if any(map(is_lazy, tensors)):
        raise UserError("expected a model whose layers have sizes, found lazy ones; run it once on a batch")
    if not any(True for _ in model.parameters()):
        raise UserError(f"expected a model with parameters, found none in {type(model).__name__}; give the whole model")
    if others := {str(tensor.device) for tensor in tensors} - {"cpu"}:
        raise UserError(f"expected a model on the CPU, found it on {others.pop()}; give model.cpu()")


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Puts a model of the user's into eval mode in this context, and leaves each part as it was: mode and buffers."""
    parts = [(part, part.training, dict(part._buffers)) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training, buffers in parts:
            part.training = training
            part._buffers.update(buffers)
