"""Which neurons of a traced model may change places, and on which axes of its tensors each of them is.

A unit is a neuron or a channel. The results of a layer are new units; what follows says which of them are one and the same:
a sum makes its terms' units one, and the next layer's input axis has the units of what it gets. Units that are on the same
axes of all tensors may change places. The rest follows from that:

- Channels that are padded (the shortcuts of option A) are units of their own, so that a residual stage has those of the
  stage before it, and others.
- A GroupNorm of several channels a group lets channels change places inside their group alone; groups stay in order.
- The order of inputs and outputs is given.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from lmc_lab.landscape.permutations import Block
from lmc_lab.stacked.graph import BATCH_NORMS, CONVOLUTIONS, FLATTENS, Call, trace
from lmc_lab.stacked.model import copied, first_names
from lmc_lab.stacked.pointwise import ARITHMETIC, ELEMENTWISE
from lmc_lab.stacked.pooling import POOLS
from lmc_lab.stacked.shapes import constant_padding, is_slice_of_space, keeps_space, num_flat_features
from lmc_lab.stacked.ties import Ties


@dataclass(frozen=True)
class _Features:
    """The units of an activation's channels, or of its last dimension where it is no feature map.

    Args:
        units: of each.
        num_space: dimensions of a feature map; 0 for rows.
        is_flat: whether each unit has as many features as a map had positions, which follow each other.
    """

    units: list[int]
    num_space: int = 0
    is_flat: bool = False


_GIVEN = None  # features of the input, whose order is given
_Followed = _Features | None


def permutable_blocks(model: nn.Module) -> list[Block]:
    """Returns the blocks of units of `model` that may change places without a change of its function.

    Raises:
        UnsupportedModel: the model cannot be traced, or has an operation of which nobody knows what it does to units.
    """
    model = copied(model).eval()
    walk = _Walk(first_names(model))
    for call in trace(model, fold_batch_norm=False):
        walk.follow(call)
    return walk.ties.blocks()


class _Walk:
    """Goes through a model's calls and ties units."""

    def __init__(self, names: dict[str, str]) -> None:
        self.ties = Ties()
        self._names = names
        self._features: dict[Call, _Followed] = {}

    def follow(self, call: Call) -> None:
        """Notes the units of a call's result."""
        sources = [self._features[source] for source in call.inputs]
        if call.op == "output":
            for source in sources:
                self._fix(source)
            return
        if call.op == "placeholder":
            self._features[call] = _GIVEN
            return
        rule = _RULES.get(call.kind)
        if rule is None or not sources:
            call.unsupported("what it does to the order of neurons is not known")
        self._features[call] = rule(self, call, *sources)

    def _fix(self, features: _Followed) -> None:
        if features is not None:
            self.ties.fix(features.units)

    def _has(self, call: Call, names: Sequence[str], dim: int, units: list[int]) -> None:
        """Notes that parameters or buffers of a layer have units along a dimension, counted from the end."""
        for name in names:
            if isinstance(getattr(call.module, name, None), torch.Tensor):
                self.ties.add_axis(self._names[f"{call.path}.{name}"], dim, units)

    def _spread(self, call: Call, features: _Features, number: int) -> list[int]:
        """Returns the unit of each of a number of features."""
        times, rest = divmod(number, len(features.units))
        if rest or (times > 1 and not features.is_flat):
            call.unsupported(f"expected {len(features.units)} features, found {number}")
        return [unit for unit in features.units for _ in range(times)]

    def linear(self, call: Call, source: _Followed) -> _Followed:
        if source is not None:
            if source.num_space:
                call.unsupported("it takes features, not a feature map")
            self._has(call, ["weight"], -1, self._spread(call, source, call.module.in_features))
        made = self.ties.new(call.module.out_features)
        self._has(call, ["weight"], -2, made)
        self._has(call, ["bias"], -1, made)
        return _Features(made)

    def convolution(self, call: Call, source: _Followed) -> _Followed:
        module, num_space = call.module, 1 if call.kind is nn.Conv1d else 2
        if source is not None and source.num_space != num_space:
            call.unsupported("it takes a feature map")
        made = self.ties.new(module.out_channels)
        if module.groups > 1:  # channels of a group belong together: their order is kept
            self._fix(source)
            self.ties.fix(made)
        elif source is not None:
            self._has(call, ["weight"], -1 - num_space, self._spread(call, source, module.in_channels))
        self._has(call, ["weight"], -2 - num_space, made)
        self._has(call, ["bias"], -1, made)
        return _Features(made, num_space)

    def norm(self, call: Call, source: _Followed) -> _Followed:
        if source is None:
            return source
        sizes = {nn.LayerNorm: "normalized_shape", nn.GroupNorm: "num_channels"}
        size = getattr(call.module, sizes.get(call.kind, "num_features"))
        if call.kind is nn.LayerNorm and (source.num_space or len(size) > 1):
            call.unsupported("it takes features, not a feature map")
        units = self._spread(call, source, size[0] if call.kind is nn.LayerNorm else size)
        self._has(call, ["weight", "bias", "running_mean", "running_var"], -1, units)
        if call.kind is nn.GroupNorm and 1 < call.module.num_groups < size:
            for index, unit in enumerate(units):
                self.ties.mark(unit, (call.path, index * call.module.num_groups // size))
        return source

    def arithmetic(self, call: Call, *sources: _Followed) -> _Followed:
        first, *others = sources
        for other in others:
            if first is None or other is None:
                self._fix(first)
                self._fix(other)
                first = None
            elif replace(first, units=[]) != replace(other, units=[]) or len(first.units) != len(other.units):
                call.unsupported("between activations that differ in their features")
            else:
                self.ties.tie(first.units, other.units)
        return first

    def elementwise(self, call: Call, source: _Followed) -> _Followed:
        return source

    def pool(self, call: Call, source: _Followed) -> _Followed:
        if source is not None and not source.num_space:
            call.unsupported("it takes a feature map")
        return source

    def flatten(self, call: Call, source: _Followed, *sizes: _Followed) -> _Followed:
        num_flat_features(call)
        if source is not None and not source.num_space and not source.is_flat:
            call.unsupported("it flattens what is no feature map")
        return None if source is None else _Features(source.units, is_flat=True)

    def mean(self, call: Call, source: _Followed) -> _Followed:
        if source is None:
            return source
        if not source.num_space:
            call.unsupported("it takes a feature map")
        return source if keeps_space(call, source.num_space) else _Features(source.units)

    def item(self, call: Call, source: _Followed) -> _Followed:
        """Follows `x[...]` where it takes a part of space, or an entry of a size; the channels stay as they are."""
        if source is not None and not (source.num_space and is_slice_of_space(call.args[1])):
            call.unsupported("expected slices of space")
        return source

    def size(self, call: Call, source: _Followed) -> _Followed:
        return _GIVEN

    def pad(self, call: Call, source: _Followed) -> _Followed:
        if source is None:
            return source
        if not source.num_space:
            call.unsupported("it takes a feature map")
        _, channels, _ = constant_padding(call, source.num_space)
        before, behind = (self.ties.new(number) for number in channels)
        for unit in (*before, *behind):
            self.ties.mark(unit, call.name)
        return _Features([*before, *source.units, *behind], source.num_space)


_RULES: dict[Any, Callable[..., _Followed]] = {
    nn.Linear: _Walk.linear,
    **dict.fromkeys(CONVOLUTIONS, _Walk.convolution),
    **dict.fromkeys([*BATCH_NORMS, nn.GroupNorm, nn.LayerNorm], _Walk.norm),
    **dict.fromkeys(ARITHMETIC, _Walk.arithmetic),
    **dict.fromkeys(ELEMENTWISE, _Walk.elementwise),
    **dict.fromkeys(POOLS, _Walk.pool),
    **dict.fromkeys(FLATTENS, _Walk.flatten),
    **dict.fromkeys([torch.mean, "mean"], _Walk.mean),
    **dict.fromkeys(["size", getattr], _Walk.size),
    **dict.fromkeys(["unsqueeze", torch.unsqueeze], _Walk.item),
    operator.getitem: _Walk.item,
    F.pad: _Walk.pad,
}
