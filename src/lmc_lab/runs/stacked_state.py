"""Stacks the states of several runs at one step, each tensor along a new first dimension, and takes each run's out again."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lmc_lab.runs.checkpoint import CALLBACK_GROUP, State

_OF_MEMBERS = "members"  # of a program's callbacks: the states of each run's


def shared(state: State) -> str:
    """Returns a key that is equal for states which can be stacked: step, schedule, parameter groups, scalars of the optimizer.

    Adam counts its steps, so a branch that began afresh is not in step with one that carries its trunk's count.
    """
    (optimizer,) = state["optimizer_states"]
    entries = {key: _shared(entry) for key, entry in optimizer["state"].items()}
    return repr((state["global_step"], state["lr_schedulers"], optimizer["param_groups"], entries))


def stacked(states: Sequence[State]) -> State:
    """Returns states whose `shared` parts are equal as one, in which each tensor of a run is (P, *shape).

    Args:
        states: as Lightning saves them, of runs by themselves.
    """
    optimizers = [state["optimizer_states"][0] for state in states]
    first = optimizers[0]
    entries = {key: _stacked([each["state"][key] for each in optimizers]) for key in first["state"]}
    names = states[0]["state_dict"]
    return {
        **states[0],
        "state_dict": {name: torch.stack([state["state_dict"][name] for state in states]) for name in names},
        "optimizer_states": [{**first, "state": entries}],
        "callbacks": {CALLBACK_GROUP: {_OF_MEMBERS: [state["callbacks"].get(CALLBACK_GROUP, {}) for state in states]}},
    }


def taken(state: State, member: int) -> State:
    """Returns the state of one run out of that of a program, in the memory of the CPU."""
    (optimizer,) = state["optimizer_states"]
    entries = {
        key: {name: _taken(value, member) for name, value in entry.items()} for key, entry in optimizer["state"].items()
    }
    return {
        **state,
        "state_dict": {name: _taken(value, member) for name, value in state["state_dict"].items()},
        "optimizer_states": [{**optimizer, "state": entries}],
        "callbacks": {CALLBACK_GROUP: state["callbacks"][CALLBACK_GROUP][_OF_MEMBERS][member]},
    }


def _stacked(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what an optimizer keeps of one parameter, of P models: one number for all stays one."""
    first = entries[0]
    return {
        name: torch.stack([entry[name] for entry in entries])
        if isinstance(value, Tensor) and not _is_for_all(name, first)
        else value
        for name, value in first.items()
    }


def _taken(value: Any, member: int) -> Any:
    """Returns one model's part of a stacked tensor, and of a scalar, which all models share, a copy."""
    if not isinstance(value, Tensor):
        return value
    return (value[member] if value.dim() else value).detach().cpu().clone()


def _shared(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what an optimizer keeps of one parameter, each tensor that differs between models replaced by its shape."""
    return {
        name: tuple(value.shape)
        if isinstance(value, Tensor) and not _is_for_all(name, entry)
        else (float(value) if isinstance(value, Tensor) else value)
        for name, value in entry.items()
    }


def _is_for_all(name: str, entry: Mapping[str, Any]) -> bool:
    """Returns whether all models share an entry of the optimizer's state: a scalar, such as Adam's `step`, beside tensors."""
    value = entry[name]
    return value.dim() == 0 and (name == "step" or any(isinstance(v, Tensor) and v.dim() for v in entry.values()))
