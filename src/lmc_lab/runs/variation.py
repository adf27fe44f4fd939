"""How the branches of a split differ from plain ones: start state, examples, noise, overrides of the task, length."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lmc_lab.data.examples import Examples
from lmc_lab.errors import UserError
from lmc_lab.runs.checkpoint import OF_AVERAGE, module_state
from lmc_lab.runs.noise import BranchNoise
from lmc_lab.runs.paths import Seed
from lmc_lab.runs.split import BranchLength, variant_of
from lmc_lab.stacked.model import first_names
from lmc_lab.tasks.state_dicts import Endpoints
from lmc_lab.tasks.supervised import only_optimizer
from lmc_lab.tasks.task import Task

Weights = Mapping[str, Tensor]  # parameters and buffers under the names in the task's state dict


def _no_others(seeds: Sequence[int]) -> Endpoints:
    raise ValueError(f"expected an origin that knows of other branches, found none with seeds {list(seeds)}")


@dataclass(frozen=True)
class Origin:
    """Where a branch leaves its trunk."""

    task: Task  # of the trunk
    trunk_seed: int
    step: int  # k
    seed: Seed  # of the branch
    batch_size: int  # of the branch
    # Of those branches of the split that start at W_k and see all examples, with these seeds, without those that diverged.
    endpoints: Callable[[Sequence[int]], Endpoints] = _no_others


Start = Callable[[Weights, Origin], Weights]
Choose = Callable[[Examples, Origin], Tensor]


@dataclass(frozen=True)
class Variation:
    """How the branches of a split are made.

    A branch is (start state, examples, noise, overrides of the task). Its seed says the noise; the rest is here, and by
    default W_k, all training examples, all noise of training, and none.

    Args:
        start: makes of the weights at W_k, and of the branch's origin, those that it starts from.
        carry_optimizer_state: a branch goes on with the optimizer's state at W_k.
        examples: returns the indices of the training examples that the branches of a split see, int64 (n,); none of them if the
            split is to have no such branches.
        noise: the one kind that a branch's seed names; None for all of them: order, augmentation and dropout.
        task: with the overrides; None without any.
        length: what T counts.
        described: `start`, `examples`, `noise` and the overrides as plain data, by which the folder is named; without what is
            default.
    """

    start: Start | None = None
    carry_optimizer_state: bool = True
    examples: Choose | None = None
    noise: BranchNoise | None = None
    task: Task | None = None
    length: BranchLength = BranchLength.TO_TOTAL
    described: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Returns what a split folder's name says of it: nothing by default, ``-after_split``, ``-varied_1a2b3c4d``."""
        return variant_of(self.length, self.carry_optimizer_state, self.described)

    def begun(self, checkpoint: dict[str, Any], origin: Origin) -> dict[str, Any]:
        """Returns the checkpoint that a branch begins with, made of the trunk's at W_k.

        Raises:
            UserError: `start` returned other tensors than it was given, or some that are not finite; the overrides are of an
                optimizer that cannot go on with the trunk's state; the task's training has no such noise.
        """
        (optimizer,) = checkpoint["optimizer_states"]
        if not self.carry_optimizer_state:
            optimizer["state"] = {}
        if self.task is not None:
            self._check_schedule(checkpoint)
            if not checkpoint["lr_schedulers"]:
                optimizer["param_groups"] = _own_groups(self.task, optimizer)
        if self.noise is not None:
            self.noise.check(self.task or origin.task)
            factor = self.noise.rate_factor(origin.trunk_seed, origin.seed)
            optimizer["param_groups"] = [{**group, "lr": factor * group["lr"]} for group in optimizer["param_groups"]]
        if self.start is None and "callbacks" not in self.described.get("overrides", {}):
            return checkpoint  # an average of weights goes on, too
        weights = module_state(checkpoint)
        started = weights if self.start is None else self._started(self.start, weights, origin)
        return {key: value for key, value in checkpoint.items() if key not in OF_AVERAGE} | {"state_dict": started}

    def _started(self, start: Start, weights: Weights, origin: Origin) -> Weights:
        """Returns what `start` makes of W_k; a tied tensor is what it makes of the first of its names."""
        first = first_names((self.task or origin.task).initialise(origin.trunk_seed))
        returned = _checked(start(dict(weights), origin), weights)
        return {name: returned[first.get(name, name)] for name in weights}

    def _check_schedule(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuses overrides that a schedule's state, which is the trunk's, would not follow."""
        overrides = self.described.get("overrides", {})
        if "scheduler" in overrides:
            raise UserError(
                "expected branch.overrides to leave task.scheduler alone, whose state is the trunk's, found another one; give "
                "the whole task another schedule"
            )
        if checkpoint["lr_schedulers"] and {"optimizer", "decay_norms_and_biases"} & overrides.keys():
            raise UserError(
                "expected branch.overrides to leave the optimizer of a task with a schedule alone, whose state has the trunk's "
                "learning rate, found another setting of it; set the schedule otherwise instead"
            )

    def chosen(self, train: Examples, batch_size: int, origin: Origin) -> Tensor:
        """Returns the indices of the examples that branches see, int64 (n,); none if there are to be no branches.

        Raises:
            UserError: `examples` returned no distinct indices of training examples, or some, but fewer than one batch takes.
        """
        if self.examples is None:
            return torch.arange(len(train))
        index = self.examples(train, origin)
        if not isinstance(index, Tensor) or index.dtype != torch.int64 or index.ndim != 1:
            raise UserError(
                "expected branch.examples to return indices, int64 (n,), found something else; change its _target_"
            )
        if len(set(index.tolist())) < len(index) or not ((index >= 0) & (index < len(train))).all():
            raise UserError(
                f"expected branch.examples to return distinct numbers from 0 to {len(train) - 1}, found others; "
                "change its _target_"
            )
        if 0 < len(index) < batch_size:
            raise UserError(
                f"expected branch.examples to choose at least one batch of {batch_size} examples, found {len(index)}; "
                "choose more, or lower the batch size: '+branch.overrides.batch_size=…'"
            )
        return index


def _own_groups(task: Task, trunks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the parameter groups of a task's optimizer, with its own settings: a state has those of the trunk's.

    Args:
        task: that is trained.
        trunks: the state of the trunk's optimizer.
    """
    groups: list[dict[str, Any]] = only_optimizer(task.initialise(0).configure_optimizers()).state_dict()[
        "param_groups"
    ]
    kinds = [[(group.keys(), group["params"]) for group in each] for each in (groups, trunks["param_groups"])]
    if trunks["state"] and kinds[0] != kinds[1]:
        raise UserError(
            "expected branches with the trunk's kind of optimizer, whose state they go on with, found another kind; "
            "set carry_optimizer_state=false"
        )
    return groups


def _checked(returned: Weights, given: Weights) -> Weights:
    if {name: value.shape for name, value in returned.items()} != {name: value.shape for name, value in given.items()}:
        raise UserError(
            "expected branch.start to return tensors with the names and shapes that it was given, found others; "
            "change its _target_"
        )
    if not all(value.isfinite().all() for value in returned.values() if value.is_floating_point()):
        raise UserError("expected branch.start to return finite weights, found NaN or infinity; change its settings")
    return {name: value.to(given[name].dtype) for name, value in returned.items()}
