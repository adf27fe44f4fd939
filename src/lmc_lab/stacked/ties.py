"""Units that are one and the same, and the axes that they are on: a union-find over numbers."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import torch

from lmc_lab.landscape.permutations import Axis, Block

_Key = tuple[str, int]  # of an axis: tensor, dimension from the end


class Ties:
    """Numbers of units, of which some are found to be the same."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._axes: dict[_Key, list[int]] = {}
        self._marks: dict[int, set[Hashable]] = defaultdict(set)

    def new(self, number: int) -> list[int]:
        """Returns that many new units."""
        first = len(self._parents)
        self._parents += range(first, first + number)
        return list(range(first, first + number))

    def tie(self, units: Sequence[int], others: Sequence[int]) -> None:
        """Says that each unit is the same as the other in its place."""
        for unit, other in zip(units, others, strict=True):
            self._parents[self._root(unit)] = self._root(other)

    def add_axis(self, tensor: str, dim: int, units: Sequence[int]) -> None:
        """Says which unit each index of an axis belongs to; what is said twice, of a layer that is used twice, is tied."""
        self.tie(units, self._axes.setdefault((tensor, dim), list(units)))

    def mark(self, unit: int, what: Hashable) -> None:
        """Adds a property to a unit; only units with the same properties may change places."""
        self._marks[unit].add(what)

    def fix(self, units: Sequence[int]) -> None:
        """Says that units stay where they are."""
        for unit in units:
            self.mark(unit, unit)

    def blocks(self) -> list[Block]:
        """Returns the units that may change places: those on the same axes, as often, with the same marks."""
        on_axes: dict[int, Counter[_Key]] = defaultdict(Counter)
        for key, units in self._axes.items():
            for unit in units:
                on_axes[self._root(unit)][key] += 1
        marks: dict[int, set[Hashable]] = defaultdict(set)
        for unit, unit_marks in self._marks.items():
            marks[self._root(unit)] |= unit_marks
        alike: dict[Hashable, list[int]] = defaultdict(list)
        for unit, counts in on_axes.items():
            alike[frozenset(counts.items()), frozenset(marks[unit])].append(unit)
        return [self._block(units, list(on_axes[units[0]])) for units in alike.values() if len(units) > 1]

    def _block(self, units: Sequence[int], keys: Sequence[_Key]) -> Block:
        return Block(tuple(Axis(*key, self._indices(units, self._axes[key])) for key in keys))

    def _indices(self, units: Sequence[int], along: Sequence[int]) -> torch.Tensor:
        """Returns where each of the units is along an axis, (n, r)."""
        along_axis: dict[int, list[int]] = {unit: [] for unit in units}
        for index, unit in enumerate(map(self._root, along)):
            if unit in along_axis:
                along_axis[unit].append(index)
        return torch.tensor(list(along_axis.values()))

    def _root(self, unit: int) -> int:
        while self._parents[unit] != unit:
            self._parents[unit] = unit = self._parents[self._parents[unit]]
        return unit
