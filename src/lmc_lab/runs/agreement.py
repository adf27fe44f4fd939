"""Examples that the endpoints of a split agree on: ``branch.examples={_target_: lmc_lab.runs.agreement.by_agreement, …}``."""

from typing import Annotated, Literal

import torch
from torch import Tensor

from lmc_lab.data.examples import Examples
from lmc_lab.data.order import Role, seed_of
from lmc_lab.errors import UserError
from lmc_lab.landscape.predictions import intra_mode
from lmc_lab.runs.variation import Origin
from lmc_lab.tasks.evaluation_settings import BatchNormPolicy, EvaluationSettings
from lmc_lab.tasks.point_evaluator import PointEvaluator
from lmc_lab.values import Seed, at_least

Part = Literal["shared", "unshared"]


def by_agreement(
    train: Examples,
    origin: Origin,
    *,
    num_endpoints: Annotated[int, at_least(2)],
    part: Part = "shared",
    at_random: bool = False,
    seed: Seed = 0,
    bn_policy: Annotated[str, BatchNormPolicy] = BatchNormPolicy.REESTIMATE,
) -> Tensor:
    """Returns the training examples that all plain endpoints of the split have right (S_j of the paper), or the others.

    Plain are the branches that start at W_k and see all examples; they are trained before. Where a part has fewer examples than
    a batch, none is chosen, and the split has no branches of it.

    Args:
        train: the training examples.
        origin: the split.
        num_endpoints: the branches with the seeds below it; one that diverged does not count.
        part: ``shared``, S_j, or ``unshared``, its complement.
        at_random: as many examples of all instead: the first of one random order, whichever split it is.
        seed: of this order.
        bn_policy: where the moments of BatchNorm layers come from at the endpoints.

    Raises:
        UserError: a plain branch is not finished, or the task has no right and wrong.
    """
    endpoints = origin.endpoints(range(num_endpoints))
    evaluator = PointEvaluator(
        origin.task.initialise(origin.trunk_seed), train, EvaluationSettings(bn_policy=bn_policy)
    )
    vertices = torch.eye(len(endpoints.thetas), dtype=torch.float64)
    masks = evaluator.correct_masks(evaluator.points(endpoints.thetas, vertices, endpoints.buffers), train)
    if masks is None:
        raise UserError(
            "expected examples that are right or wrong, found a task without; choose others, branch.examples=…"
        )
    is_chosen = intra_mode(masks) if part == "shared" else ~intra_mode(masks)
    chosen = is_chosen.nonzero().flatten()
    if len(chosen) < origin.batch_size:
        return chosen[:0]
    if not at_random:
        return chosen
    generator = torch.Generator().manual_seed(seed_of(Role.EXAMPLES, 0, seed))
    return torch.randperm(len(train), generator=generator)[: len(chosen)].sort().values
