"""What `import lmc_lab` measures of a model of one's own, without a config or a trainer.

Each function is the code behind the suite's rows. With one torch thread, as the suite's commands have
(`torch.set_num_threads(1)`), the numbers are equal to the last bit.

Shapes: P state dicts of D parameters, J samples of the hull, N examples.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from torch import nn

from lmc_lab.errors import UserError
from lmc_lab.landscape import hull, spectrum
from lmc_lab.landscape.curvature import SpectrumEnds
from lmc_lab.landscape.hull import Evaluation as Evaluation  # public, and what `Objective.evaluate` returns
from lmc_lab.landscape.hull import HullProbe
from lmc_lab.landscape.lines import LineProbe, probe_lines
from lmc_lab.landscape.predictions import SharedCorrect
from lmc_lab.landscape.spectrum import EndpointSpectrum
from lmc_lab.library.objective import Objective, being_measured, check_model
from lmc_lab.tasks.curvature import spectrum_ends
from lmc_lab.tasks.layout import StateLayout
from lmc_lab.tasks.state_dicts import StateDict, endpoints_of
from lmc_lab.values import Count, at_least, check_value


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
    thetas, evaluate = objective.hull_of(states)
    movable = StateLayout.of(objective.model).parameters.varying(thetas)
    sample = hull.sample_hull(thetas, num_samples, seed=seed, concentration=concentration, movable=movable)
    return hull.probe_hull(evaluate, thetas, sample)


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
    thetas, evaluate = objective.hull_of([first, second])
    return probe_lines(evaluate, thetas, num_points=num_points)[0, 1]


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
        keep_graph: the gradient's graph is kept for all products; without it each makes the graph anew, but only that
            of some examples is in memory at a time.

    Raises:
        UserError: the state dict is not of this model, or an argument cannot be what it is.
        NoGradient: the loss is no differentiable function of the weights, or all of them are frozen.
        NotSymmetric: a second derivative is wrong, or the loss draws numbers at random.
        NotFinite: a product is NaN or infinite.
    """
    check_value(num_examples, Count, "num_examples")
    check_value(method, Literal["lanczos", "power"], "method")
    check_value(max_products, Annotated[int, at_least(2, because="there are two ends")], "max_products")
    with being_measured(objective.model):
        return spectrum_ends(
            objective.evaluator,
            objective.points([state]),
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
    check_model(model)
    return spectrum.singular_values(endpoints_of(model, states).thetas, centred=centred)


def shared_correct(objective: Objective, states: Sequence[StateDict]) -> SharedCorrect:
    """Returns which examples each of P state dicts has right, and which all have (section 4; Figure 5, bottom row).

    Args:
        objective: on whose examples.
        states: P state dicts.

    Raises:
        UserError: a state dict is not of this model, or the objective has no right and wrong.
        NotFinite: the loss of a state dict is NaN or infinite.
    """
    with being_measured(objective.model):
        masks = objective.evaluator.correct_masks(objective.points(states), objective.examples)
    if masks is None:
        raise UserError(
            "expected an objective with right and wrong, found neither labels nor is_correct; "
            "give Objective(..., is_correct=...)"
        )
    return SharedCorrect(masks)
