"""Branches that train on from endpoints: ``branch.start={_target_: lmc_lab.runs.continuation.own_endpoint}``."""

from lmc_lab.errors import UserError
from lmc_lab.runs.paths import TRUNK
from lmc_lab.runs.variation import Origin, Weights


def own_endpoint(weights: Weights, origin: Origin) -> Weights:
    """Returns the endpoint of the plain branch of the split with the branch's own seed, which is trained before.

    The branch then takes as many steps again, in the same order, at the rates of these steps. It goes on with the optimizer's
    state at W_k, since an endpoint has none, or with `carry_optimizer_state=false` without any.

    Args:
        weights: W_k, with buffers.
        origin: where the branch leaves its trunk.

    Raises:
        UserError: there is no such endpoint, or that branch diverged.
    """
    if origin.seed == TRUNK:
        raise UserError("expected a seed of a plain branch to train on from, found the trunk's; leave it out")
    endpoint = origin.endpoints([int(origin.seed)])
    own = {**origin.task.layout.parameters.unflatten(endpoint.thetas), **endpoint.buffers}
    return {name: own[name][0] if name in own else value for name, value in weights.items()}
