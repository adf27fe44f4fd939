"""State dicts of a model, from wherever they come, as points of its parameter space."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from lmc_lab.errors import UserError
from lmc_lab.tasks.layout import StateLayout

StateDict = Mapping[str, Tensor]


def points_of(model: nn.Module, states: Sequence[StateDict]) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the parameters thetas (P, D) of P state dicts, and their buffers, (P, *shape) by name.

    Names may have a prefix in front (``module.``, ``model.``, ``_orig_mod.`` or another one), and what is then not below it
    is left out. Weights are converted to the precision of the model's own, on the CPU.

    Raises:
        UserError: one is no state dict of this model, has NaN or infinite weights, or two are the same tensors.
    """
    layout, known = StateLayout.of(model), set(model.state_dict())
    _refuse_shared(states)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    shapes = {name: tensors[name].shape for name in (*layout.parameters.names, *layout.buffers)}
    own = [
        _own(state, shapes, known, f"states[{i}] to be weights of {type(model).__name__}")
        for i, state in enumerate(states)
    ]
    placed = [{name: state[name].detach().to("cpu", layout.dtypes[name]) for name in shapes} for state in own]
    for i, state in enumerate(placed):
        _check_finite({name: state[name] for name in layout.parameters.names}, i)
    thetas = torch.stack([layout.parameters.flatten(state) for state in placed])
    return thetas, {name: torch.stack([state[name] for state in placed]) for name in layout.buffers}


def _own(state: Any, shapes: Mapping[str, torch.Size], known: set[str], what: str) -> dict[str, Tensor]:
    """Returns the tensors of a state dict under the model's own names."""
    if not isinstance(state, Mapping):
        raise UserError(
            f"expected {what}, found {type(state).__name__}; give a list of what model.state_dict() returns"
        )
    prefix = _prefix(state, shapes)
    own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    missing = [name for name in shapes if not isinstance(own.get(name), Tensor)]
    unknown = [name for name in own if name not in known]
    if missing or unknown:
        raise UserError(
            f"expected {what}, with {_first(missing or shapes)}, found {_first(unknown) if unknown else 'none of them'}; "
            "give the model that these weights are of"
        )
    if others := [name for name, shape in shapes.items() if own[name].shape != shape]:
        raise UserError(
            f"expected {what}, with {_first(f'{name} {tuple(shapes[name])}' for name in others)}, found "
            f"{_first(f'{name} {tuple(own[name].shape)}' for name in others)}; give the model that these weights are of"
        )
    return own


def _prefix(state: Mapping[str, Any], names: Iterable[str]) -> str:
    """Returns what stands in front of all `names` in a state dict; nothing where they are not all there."""
    first, *_ = names
    prefixes = [name.removesuffix(first) for name in state if name == first or name.endswith(f".{first}")]
    whole = (prefix for prefix in sorted(prefixes, key=len) if all(f"{prefix}{name}" in state for name in names))
    return next(whole, "")


def _first(names: Iterable[str]) -> str:
    """Returns the first three names as a list."""
    first, rest = [*names][:3], [*names][3:]
    return ", ".join(first) + (", …" if rest else "")


def _refuse_shared(states: Sequence[Any]) -> None:
    """Refuses state dicts whose tensors all lie in the same memory: of one model that was trained on meanwhile."""
    places = [
        {name: tensor.data_ptr() for name, tensor in state.items() if isinstance(tensor, Tensor) and tensor.numel()}
        for state in states
        if isinstance(state, Mapping)
    ]
    for (i, first), (j, second) in combinations(enumerate(places), 2):
        if first and first == second:
            raise UserError(
                f"expected weights of different models, found states[{i}] and states[{j}] in the same memory, so that both are "
                "what that model has become; keep copies: copy.deepcopy(model.state_dict())"
            )


def _check_finite(parameters: Mapping[str, Tensor], index: int) -> None:
    for name, tensor in parameters.items():
        if not tensor.isfinite().all():
            raise UserError(
                f"expected finite weights in states[{index}], found NaN or infinity in {name}: that training has diverged; "
                "leave it out"
            )
