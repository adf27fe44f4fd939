"""State dicts of a model, from wherever they come, as endpoints: parameters as vectors, and buffers."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lmc_lab.errors import UserError
from lmc_lab.tasks.layout import StateLayout

StateDict = Mapping[str, Tensor]
# In front of the names of a model's tensors; the last two in files of this package.
_USUAL_PREFIXES = ("", "model.", "module.", "_orig_mod.", "model/model.", "model/")


class Endpoints(NamedTuple):
    """P endpoints of a model of D parameters."""

    thetas: Tensor  # (P, D)
    buffers: dict[str, Tensor]  # name -> (P, *shape)


def endpoints_of(model: nn.Module, states: Sequence[StateDict], names: Sequence[str] = ()) -> Endpoints:
    """Returns the parameters of P state dicts, and the buffers that all of them have.

    Names of tensors may have a prefix in front (``module.``, ``model.``, ``_orig_mod.`` or another one), and what is then
    not below it is left out. Weights are converted to the precision of the model's own, on the CPU.

    Args:
        model: whose parameters and buffers they are.
        states: P state dicts.
        names: what each of them is called in a sentence, (P,); ``states[0]``, ... if there are none.

    Raises:
        UserError: one is no state dict of this model, has NaN or infinite weights, two are the same tensors, or there is none.
    """
    if not states:
        raise UserError(
            "expected state dicts, found an empty list; give one or more of what model.state_dict() returns"
        )
    _refuse_shared(states)
    layout = StateLayout.of(model)
    names = names or [f"states[{i}]" for i in range(len(states))]
    placed = [_placed(model, layout, state, name) for state, name in zip(states, names, strict=True)]
    thetas = torch.stack([layout.parameters.flatten(state) for state in placed])
    shared = [name for name in layout.buffers if all(name in state for state in placed)]
    return Endpoints(thetas, {name: torch.stack([state[name] for state in placed]) for name in shared})


def _placed(model: nn.Module, layout: StateLayout, state: StateDict, name: str) -> dict[str, Tensor]:
    """Returns the tensors of a state dict that make a point, under the model's names and in its precision."""
    weights = _weights_of(model, layout, state, f"{name} to be weights of {type(model).__name__}")
    placed = {each: tensor.detach().to("cpu", layout.dtypes[each]) for each, tensor in weights.items()}
    for each in layout.parameters.names:
        if not placed[each].isfinite().all():
            raise UserError(
                f"expected finite weights in {name}, found NaN or infinity in {each}: that training has diverged; "
                "leave it out"
            )
    return placed


def _weights_of(model: nn.Module, layout: StateLayout, state: Any, what: str) -> dict[str, Tensor]:
    """Returns the parameters in a state dict, and those buffers that it has, under the model's own names."""
    if not isinstance(state, Mapping):
        raise UserError(
            f"expected {what}, found {type(state).__name__}; give a list of what model.state_dict() returns"
        )
    parameters, known = layout.parameters.names, model.state_dict()
    prefix = _prefix(state, parameters, what)
    below = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    picked = {name: below[name] for name in layout.dtypes if isinstance(below.get(name), Tensor)}
    missing = [name for name in parameters if name not in picked]
    unknown = [name for name in below if name not in known]
    if missing or unknown:
        raise UserError(
            f"expected {what}, with {first_three(missing or parameters)}, found "
            f"{first_three(unknown) if unknown else 'none of them'}; give the model that these weights are of"
        )
    if others := [name for name, tensor in picked.items() if tensor.shape != known[name].shape]:
        raise UserError(
            f"expected {what}, with {first_three(f'{name} {tuple(known[name].shape)}' for name in others)}, found "
            f"{first_three(f'{name} {tuple(picked[name].shape)}' for name in others)}; give the model that these weights are of"
        )
    return picked


def _prefix(state: Mapping[str, Any], names: Iterable[str], what: str) -> str:
    """Returns what stands in front of all `names` in a state dict; nothing where they are not all there.

    Raises:
        UserError: they are there several times, as of a model and of an average of it, and none of them under a usual name.
    """
    first, *_ = names
    # A file of this package has the path of a tensor in front: "model/model.0.weight".
    prefixes = [
        name.removesuffix(first) for name in state if name == first or name.endswith((f".{first}", f"/{first}"))
    ]
    whole = [prefix for prefix in sorted(prefixes, key=len) if all(f"{prefix}{name}" in state for name in names)]
    usual = [prefix for prefix in _USUAL_PREFIXES if prefix in whole]
    if len(whole) > 1 and not usual:
        raise UserError(
            f"expected {what}, found several sets of them, below {' and '.join(whole)}; save the one that is meant"
        )
    return next(iter([*usual, *whole]), "")


def first_three(names: Iterable[str]) -> str:
    """Returns the first three names as a list, with what says that there are more."""
    first, rest = [*names][:3], [*names][3:]
    return ", ".join(first) + (", …" if rest else "")


def _refuse_shared(states: Sequence[Any]) -> None:
    """Refuses state dicts whose tensors all lie in the same memory: of one model that was trained on meanwhile."""
    pointers = [
        {name: tensor.data_ptr() for name, tensor in state.items() if isinstance(tensor, Tensor) and tensor.numel()}
        for state in states
        if isinstance(state, Mapping)
    ]
    for (i, first), (j, second) in combinations(enumerate(pointers), 2):
        if first and first == second:
            raise UserError(
                f"expected weights of different models, found states[{i}] and states[{j}] in the same memory, so that both are "
                "what that model has become; keep copies: copy.deepcopy(model.state_dict())"
            )
