"""Ways to put the neurons of several modes' endpoints into one order, the first mode's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmc_lab.analyses.assignment import best_assignment
from lmc_lab.analyses.corners import Corners
from lmc_lab.data.examples import Examples
from lmc_lab.landscape.hull import hull_points
from lmc_lab.landscape.matching import match_jointly, match_weights, unit_products
from lmc_lab.landscape.parameters import ParameterLayout, state_at
from lmc_lab.landscape.permutations import Block, composed, identity
from lmc_lab.tasks.layer_outputs import LayerOutputs
from lmc_lab.tasks.point_evaluator import PointEvaluator

Order = list[Tensor]  # a permutation of each block
_EXAMPLES_AT_A_TIME = 32  # of which the activations of all layers are in memory


@dataclass(frozen=True)
class Aligner:
    """Finds an order of neurons for each of n endpoints of M modes.

    Args:
        corners: the endpoints.
        layout: of parameters in theta.
        blocks: of units that may change places.
        seed: of the orders in which blocks and networks are looked at.
    """

    corners: Corners
    layout: ParameterLayout
    blocks: Sequence[Block]
    seed: int

    def by_centres(self) -> list[Order]:
        """Returns one order for each mode: its centre's weights are matched to the first mode's centre."""
        return self.by_points(self._centres)

    def by_points(self, thetas: Tensor) -> list[Order]:
        """Returns one order for each mode: its point of `thetas` (M, D) is matched to the first mode's, by weights."""
        return self._of_modes([identity(self.blocks), *(self._matched(thetas[0], theta) for theta in thetas[1:])])

    def by_endpoints(self) -> list[Order]:
        """Returns an order for each endpoint of the other modes: its weights are matched to the first mode's centre."""
        centre = self._centres[0]
        return [
            self._matched(centre, theta) if mode else identity(self.blocks)
            for theta, mode in zip(self.corners.thetas, self.corners.of_mode.tolist(), strict=True)
        ]

    def jointly(self) -> list[Order]:
        """Returns an order for each endpoint of all modes, all found together, that of the first endpoint being as it is.

        The centres' orders are found together first: else each endpoint would stay with the others of its own mode.
        """
        start = self._of_modes(self._matched_jointly(self._centres))
        further = self._matched_jointly(self.aligned(start).thetas)
        orders = [composed(*each) for each in zip(start, further, strict=True)]
        back = [of_block.argsort() for of_block in orders[0]]
        return [composed(order, back) for order in orders]

    def by_activations(self, evaluator: PointEvaluator, layers: LayerOutputs, examples: Examples) -> list[Order]:
        """Returns one order for each mode: activations of its centre are matched to those of the first mode's centre."""
        centres = self.corners.centres
        points = evaluator.points(self._centres, centres, self.corners.buffers)
        states = [state_at(points, i) for i in range(len(centres))]
        results = [list(_results(block, states[0], layers)) for block in self.blocks]
        size = [len(block) for block in self.blocks]
        scores = [[torch.zeros(n, n, dtype=torch.float64) for n in size] for _ in states[1:]]
        for inputs, _ in examples.chunks(_EXAMPLES_AT_A_TIME):
            first, *others = (layers.by_unit(state, inputs) for state in states)
            for other, totals in zip(others, scores, strict=True):
                for total, named in zip(totals, results, strict=True):
                    for name, indices in named:
                        total += unit_products(first[name], other[name], indices).cpu()
        return self._of_modes(
            [identity(self.blocks), *([best_assignment(total) for total in totals] for totals in scores)]
        )

    def aligned(self, orders: Sequence[Order]) -> Corners:
        """Returns the endpoints in these orders."""
        return self.corners.permuted(self.layout, self.blocks, orders)

    def pair(self, one: int, other: int) -> Corners:
        """Returns two endpoints, the weights of the second matched to the first's."""
        pair_corners = self.corners.only([one, other])
        orders = [identity(self.blocks), self._matched(*pair_corners.thetas)]
        return pair_corners.permuted(self.layout, self.blocks, orders)

    @property
    def _centres(self) -> Tensor:
        """Returns the centre of each mode, (M, D)."""
        return hull_points(self.corners.thetas, self.corners.centres)

    def _of_modes(self, orders: Sequence[Order]) -> list[Order]:
        """Returns each endpoint's order, given that of its mode."""
        return [orders[mode] for mode in self.corners.of_mode.tolist()]

    def _matched(self, fixed: Tensor, moved: Tensor) -> Order:
        fixed_tensors, moved_tensors = (self.layout.unflatten(theta) for theta in (fixed, moved))
        return match_weights(
            fixed_tensors, moved_tensors, self.blocks, assign=best_assignment, generator=self._generator()
        )

    def _matched_jointly(self, thetas: Tensor) -> list[Order]:
        networks = self.layout.unflatten(thetas)
        return match_jointly(networks, self.blocks, assign=best_assignment, generator=self._generator())

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def _results(block: Block, state: Mapping[str, Tensor], layers: LayerOutputs) -> Iterator[tuple[str, Tensor]]:
    """Yields the layers that a block's units are results of, and where the units are among their features."""
    for axis in block.axes:
        name, _, tensor = axis.tensor.rpartition(".")
        if tensor == "weight" and name in layers.names and axis.dim == -state[axis.tensor].dim():
            yield name, axis.indices
