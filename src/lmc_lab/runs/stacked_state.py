"""The states of several runs at one step as one, as a program of them has it, and each of them again."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lmc_lab.runs.checkpoint import CALLBACK_GROUP, State

_OF_MEMBERS = "members"  # of a program's callbacks: the states of each run's
_COUNT = "step"  # what torch's optimizers call the number of their steps, the one thing in their states that is no parameter's


def shared(state: State) -> str:
    """Returns what must be equal in states that become one: the step, and what an optimizer or a schedule has once for all.

    Adam counts its steps, so a branch that began afresh is not in step with one that carries its trunk's count.
    """
    (optimizer,) = state["optimizer_states"]
    return repr((state["global_step"], state["lr_schedulers"], _shared(optimizer)))


def stacked(states: Sequence[State]) -> State:
    """Returns states whose `shared` parts are equal as one, in which each tensor of a run is (P, *shape).

    Args:
        states: as Lightning saves them, of runs by themselves.
    """
    return {
        **states[0],
        "state_dict": _stacked([state["state_dict"] for state in states]),
        "optimizer_states": [_stacked([state["optimizer_states"][0] for state in states])],
        "callbacks": {CALLBACK_GROUP: {_OF_MEMBERS: [state["callbacks"].get(CALLBACK_GROUP, {}) for state in states]}},
    }


def taken(state: State, member: int) -> State:
    """Returns the state of one run out of that of a program."""
    (optimizer,) = state["optimizer_states"]
    return {
        **state,
        "state_dict": {name: value[member].clone() for name, value in state["state_dict"].items()},
        "optimizer_states": [{**optimizer, "state": _taken(optimizer["state"], member)}],
        "callbacks": {CALLBACK_GROUP: state["callbacks"][CALLBACK_GROUP][_OF_MEMBERS][member]},
    }


def _stacked(trees: Sequence[Any]) -> Any:
    first = trees[0]
    if isinstance(first, Mapping):
        return {key: first[key] if key == _COUNT else _stacked([tree[key] for tree in trees]) for key in first}
    return torch.stack(list(trees)) if isinstance(first, Tensor) else first


def _taken(tree: Any, member: int) -> Any:
    if isinstance(tree, Mapping):
        return {key: value if key == _COUNT else _taken(value, member) for key, value in tree.items()}
    return tree[member].clone() if isinstance(tree, Tensor) else tree


def _shared(tree: Any) -> Any:
    """Returns the tree with the shapes of its tensors in their places, but for those that are counts."""
    if isinstance(tree, Mapping):
        return {key: float(value) if key == _COUNT else _shared(value) for key, value in tree.items()}
    return tuple(tree.shape) if isinstance(tree, Tensor) else tree
