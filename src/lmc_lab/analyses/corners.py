"""The endpoints of several modes as the corners of one hull."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from lmc_lab.landscape.parameters import ParameterLayout, state_at
from lmc_lab.landscape.permutations import Block, Permutation, permuted
from lmc_lab.runs.modes import Modes
from lmc_lab.tasks.supervised import SupervisedTask
from lmc_lab.tasks.task import Task

NO_MODULE = (
    "since the trunks' modules differ in buffers that are in no state dict, so that none is that of a point between"
)


def module_of_all(modes: Modes, task: Task) -> SupervisedTask | None:
    """Returns the module in which points between modes are evaluated, None where those of the trunks are not alike.

    A module may have random buffers that are in no state dict: it is then that of one trunk alone.
    """
    first, *others = (task.initialise(seed) for seed in dict.fromkeys(mode.init_seed for mode in modes))
    hidden = _hidden(first)
    is_alike = all(torch.equal(hidden[name], value) for other in others for name, value in _hidden(other).items())
    return first if is_alike else None


def _hidden(module: nn.Module) -> dict[str, Tensor]:
    """Returns the buffers that are in no state dict."""
    saved = module.state_dict()
    return {name: value for name, value in module.named_buffers() if name not in saved}


@dataclass(frozen=True)
class Corners:
    """n endpoints of M modes, those of a mode after each other."""

    thetas: Tensor  # (n, D)
    buffers: Mapping[str, Tensor]  # name -> (n, *shape)
    of_mode: Tensor  # (n,) int64, the number of each endpoint's mode
    names: tuple[str, ...]  # n, as a sentence calls them

    @classmethod
    def of(cls, modes: Modes) -> Self:
        """Returns the endpoints of all modes."""
        return cls(
            thetas=torch.cat([mode.endpoints for mode in modes]),
            buffers={name: torch.cat([mode.buffers[name] for mode in modes]) for name in modes.members[0].buffers},
            of_mode=modes.of_mode,
            names=tuple(name for mode in modes for name in mode.names),
        )

    @property
    def vertices(self) -> Tensor:
        """Returns the coefficients of each corner, float64 (n, n)."""
        return torch.eye(len(self.thetas), dtype=torch.float64)

    @property
    def centres(self) -> Tensor:
        """Returns the coefficients of the centre of each mode, float64 (M, n)."""
        members = torch.nn.functional.one_hot(self.of_mode).T.double()
        return members / members.sum(dim=1, keepdim=True)

    def to_other_modes(self) -> list[tuple[int, int]]:
        """Returns each mode with each corner of another mode."""
        return [
            (hub, end)
            for hub in range(len(self.centres))
            for end, mode in enumerate(self.of_mode.tolist())
            if mode != hub
        ]

    def between_first(self, num_endpoints: int) -> list[tuple[int, int]]:
        """Returns the pairs of corners of different modes, of the first `num_endpoints` of each."""
        modes = self.of_mode.tolist()
        first = [end for end, mode in enumerate(modes) if end - modes.index(mode) < num_endpoints]
        return [(one, other) for one in first for other in first if modes[one] < modes[other]]

    def only(self, members: Sequence[int]) -> Self:
        """Returns some of the corners."""
        chosen = list(members)
        buffers = {name: values[chosen] for name, values in self.buffers.items()}
        names = tuple(self.names[i] for i in chosen)
        return replace(self, thetas=self.thetas[chosen], buffers=buffers, of_mode=self.of_mode[chosen], names=names)

    def permuted(self, layout: ParameterLayout, blocks: Sequence[Block], orders: Sequence[Permutation]) -> Self:
        """Returns the same corners with the units of each in its own order; buffers go with them."""
        parts = []
        for i, order in enumerate(orders):
            tensors = layout.unflatten(self.thetas[i]) | state_at(self.buffers, i)
            parts.append(permuted(tensors, blocks, order))
        return replace(
            self,
            thetas=torch.stack([layout.flatten(part) for part in parts]),
            buffers={name: torch.stack([part[name] for part in parts]) for name in self.buffers},
        )
