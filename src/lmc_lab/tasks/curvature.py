"""Both ends of the Hessian's spectrum at one point (Figure 4, top row; Appendix B)."""

import torch

from lmc_lab.data.examples import Examples
from lmc_lab.landscape.curvature import SpectrumEnds, hessian_product, lanczos_extremes, power_extremes
from lmc_lab.landscape.parameters import States
from lmc_lab.tasks.arithmetic import float32_products
from lmc_lab.tasks.point_evaluator import PointEvaluator

_METHODS = {"lanczos": lanczos_extremes, "power": power_extremes}


@float32_products()
def spectrum_ends(
    evaluator: PointEvaluator,
    point: States,
    examples: Examples,
    *,
    method: str,
    max_products: int,
    tolerance: float,
    seed: int,
    keep_graph: bool,
) -> SpectrumEnds:
    """Returns the ends of the spectrum at the one `point`, in the parameters that are not frozen.

    Args:
        evaluator: of the loss whose Hessian it is.
        point: as `evaluator.points` makes it.
        examples: over which the loss is a mean.
        method: ``lanczos`` or ``power``, see `landscape.curvature`.
        max_products: Hessian-vector products after which it gives up.
        tolerance: relative residual at which an end has converged.
        seed: of the starting vector.
        keep_graph: see `landscape.curvature.hessian_product`.

    Raises:
        NoGradient: the loss carries none, or all parameters are frozen.
        NotSymmetric: the products are those of no Hessian.
        NotFinite: a product is NaN or infinite.
    """
    trained = evaluator.differentiable.trained(point)
    product = hessian_product(evaluator.differentiable.partial_losses(point, examples), trained, keep_graph=keep_graph)
    generator = torch.Generator().manual_seed(seed)
    return _METHODS[method](
        product,
        len(trained),
        generator=generator,
        max_products=max_products,
        tolerance=tolerance,
        device=trained.device,
    )
