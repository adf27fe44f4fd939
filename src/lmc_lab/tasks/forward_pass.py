"""What a forward pass computes and changes besides returning outputs.

A loss may read it: an activation that `forward` stores, say, or a buffer that it writes. Such a loss is right only straight
after the forward pass of its own point, so that points are then evaluated one by one.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lmc_lab.inputs import Inputs, by_name, each
from lmc_lab.torch_internals import buffers_of, version_of

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass in eval mode: its outputs, and what it computed and changed on the way."""

    outputs: Tensor  # (B, ...)
    tensors: tuple[Tensor, ...]  # the inputs, and all that was computed or changed on the way
    changed: tuple[str, ...]  # names of attributes of the module and of those inside it
    written: tuple[str, ...]  # of these, the buffers

    @property
    def num_bytes(self) -> int:
        """Returns the memory of all `tensors` together; those that share some count it twice."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @classmethod
    def of(cls, module: nn.Module, inputs: Inputs) -> "ForwardPass":
        """Runs `module` on a copy of `inputs` (B, ...); what the module stores on the way stays in it."""
        given = each(Tensor.clone, inputs)
        before = dict(_attributes(module))
        with torch.no_grad(), _Recorder() as recorder:
            outputs = module(given)
        after = dict(_attributes(module))
        changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        written = [name for name, _ in module.named_buffers() if name in changed]
        return cls(
            outputs, (*by_name(given).values(), *recorder.tensors), tuple(sorted(changed)), tuple(sorted(written))
        )


def placed(module: nn.Module, state: Mapping[str, Tensor], written: Collection[str]) -> dict[str, Tensor]:
    """Puts copies of the buffers that a forward pass writes into the module, and returns the rest of a point's `state`.

    The rest is for `functional_call`, which takes back at its end what it placed: what the pass writes has to stay for the
    loss. The copies keep it from the buffers of other points.
    """
    for name in state.keys() & written:
        owner, _, attribute = name.rpartition(".")
        buffers_of(module.get_submodule(owner))[attribute] = state[name].clone()
    return {name: tensor for name, tensor in state.items() if name not in written}


def items(given: Any) -> Iterator[Any]:
    """Yields what is in lists, tuples and the values of dicts, at any depth; anything else is yielded itself."""
    if isinstance(given, list | tuple):
        for part in given:
            yield from items(part)
    elif isinstance(given, Mapping):
        yield from items(list(given.values()))
    else:
        yield given


class _Recorder(TorchFunctionMode):
    """Keeps the tensors that are computed, or changed in place, while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [item for item in items([args, kwargs or {}]) if isinstance(item, Tensor)]
        before = {id(tensor): version_of(tensor) for tensor in given}
        result = func(*args, **(kwargs or {}))
        results = [item for item in items(result) if isinstance(item, Tensor)]
        # What is returned as it was given, by `contiguous` say, is not made here: it may be a parameter.
        self.tensors += [tensor for tensor in [*results, *given] if before.get(id(tensor)) != version_of(tensor)]
        return result


@dataclass(frozen=True, eq=False)
class _Value:
    """An attribute's value at one time. The value itself is kept, since a later one could get the id of one that is gone."""

    value: Any
    version: int | None  # of a tensor: how often it was changed in place

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Value):
            return False
        if isinstance(self.value, _PLAIN):
            return type(self.value) is type(other.value) and repr(self.value) == repr(other.value)
        return self.value is other.value and self.version == other.version


def _attributes(module: nn.Module) -> Iterator[tuple[str, _Value]]:
    """Yields name and value of all that a module and those inside it hold, in lists, sets and dicts as well."""
    for prefix, part in module.named_modules():
        held = {
            name: value for name, value in vars(part).items() if name not in ("_modules", "_parameters", "_buffers")
        }
        parameters = dict(part.named_parameters(recurse=False, remove_duplicate=False))
        for name, value in (held | parameters | buffers_of(part)).items():
            yield from _values(f"{prefix}.{name}" if prefix else name, value)


def _values(name: str, held: Any) -> Iterator[tuple[str, _Value]]:
    if isinstance(held, Mapping):
        yield name, _Value(len(held), None)
        for key, value in held.items():
            yield from _values(f"{name}[{key}]", value)
    elif isinstance(held, list | tuple | set | deque):
        yield name, _Value(len(held), None)
        for i, value in enumerate(held):
            yield from _values(f"{name}[{i}]", value)
    else:
        yield name, _Value(held, version_of(held) if isinstance(held, Tensor) else None)
