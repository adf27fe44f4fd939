"""Which buffers a point has, above all the moments of BatchNorm layers: the one place that knows the policies."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lmc_lab.data.examples import Examples
from lmc_lab.errors import UserError
from lmc_lab.landscape.parameters import States
from lmc_lab.stacked.moments import has_running_moments
from lmc_lab.tasks.evaluation_settings import BatchNormPolicy, EvaluationSettings
from lmc_lab.tasks.forward import Forward
from lmc_lab.tasks.layout import StateLayout
from lmc_lab.tasks.state_dicts import first_three

Buffers = Mapping[str, Tensor]  # name -> (P, *shape), the buffers that belong to P endpoints


class BufferPolicy:
    """Gives points that are mixtures of endpoints their buffers.

    Args:
        module: whose buffers they are.
        train: the training set, from which `reestimate` takes its batch.
        settings: the policy, and the size of that batch.

    Raises:
        UserError: the batch would be a single example.
    """

    def __init__(self, module: nn.Module, train: Examples, settings: EvaluationSettings) -> None:
        self._policy = BatchNormPolicy(settings.bn_policy)
        self._module_buffers = {name: module.get_buffer(name) for name in StateLayout.of(module).buffers}
        self._moments = {name for name in self._module_buffers if has_running_moments(_owner(module, name))}
        is_reestimated = self._policy is BatchNormPolicy.REESTIMATE and _has_running_moments(module)
        if is_reestimated and len(train) < 2:
            raise UserError(
                "expected 2 or more training examples, whose moments BatchNorm is to have, found 1; give more, or take the "
                "bn_policy keep (evaluation.bn_policy=keep)"
            )
        self._inputs = train.draw(settings.num_bn_examples).batch(slice(None))[0] if is_reestimated else None

    def mixed(self, coefficients: Tensor, buffers: Buffers) -> dict[str, Tensor]:
        """Returns the buffers of n points before any moments are re-estimated, (n, *shape) by name.

        Args:
            coefficients: of the P endpoints in each point, (n, P).
            buffers: the endpoints' own; moments of BatchNorm layers may be missing where the policy replaces them.

        Raises:
            UserError: others are missing.
        """
        of_module = self._in_place_of_missing(buffers, len(coefficients))
        if self._policy is BatchNormPolicy.INTERPOLATE:
            return {name: _mean(coefficients, values) for name, values in buffers.items()} | of_module
        return {name: values[coefficients.argmax(dim=1)] for name, values in buffers.items()} | of_module

    def reestimated(self, forward: Forward, states: States) -> dict[str, Tensor]:
        """Returns the moments at n points that the policy takes from a batch, (n, C) by name; {} if it takes none."""
        return {} if self._inputs is None else forward.moments(states, self._inputs)

    def _in_place_of_missing(self, buffers: Buffers, num_points: int) -> dict[str, Tensor]:
        """Returns the module's own moments for those that the endpoints came without, and that the policy replaces."""
        missing = [name for name in self._module_buffers if name not in buffers]
        is_replaced = self._moments if self._policy is BatchNormPolicy.REESTIMATE else set()
        if needed := [name for name in missing if name not in is_replaced]:
            advice = ", or take the bn_policy reestimate (evaluation.bn_policy=reestimate)"
            raise UserError(
                f"expected endpoints with {first_three(needed)}, found none of them; save the whole of model.state_dict()"
                f"{advice if self._moments.issuperset(needed) else ''}"
            )
        return {
            name: self._module_buffers[name].expand(num_points, *self._module_buffers[name].shape) for name in missing
        }


def _owner(module: nn.Module, name: str) -> nn.Module:
    return module.get_submodule(name.rpartition(".")[0])


def _has_running_moments(module: nn.Module) -> bool:
    return any(map(has_running_moments, module.modules()))


def _mean(coefficients: Tensor, values: Tensor) -> Tensor:
    """Returns the mixtures of `values` (P, *shape), (n, *shape), in float64, rounded once; integers are not mixed."""
    if not values.is_floating_point():
        return values[coefficients.argmax(dim=1)]
    return torch.tensordot(coefficients, values.double(), dims=1).to(values.dtype)
