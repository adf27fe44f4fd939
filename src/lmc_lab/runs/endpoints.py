"""A mode: the endpoints of one split of one trunk, stacked."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lmc_lab.errors import UserError
from lmc_lab.files import DamagedFile, MissingFile
from lmc_lab.landscape.parameters import ParameterLayout
from lmc_lab.runs import checkpoint
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.layout import RunFolder
from lmc_lab.runs.status import peek_status


@dataclass(frozen=True)
class Mode:
    """All finished endpoints of one split of one trunk, seen as one region. P endpoints of D parameters."""

    trunk_seed: int
    split_step: int
    seeds: tuple[int, ...]  # P data-order seeds
    layout: ParameterLayout
    endpoints: Tensor  # (P, D)
    buffers: Mapping[str, Tensor]  # name -> (P, *shape)
    path_lengths: Tensor  # (P,) float64, from W_0
    digests: tuple[str, ...]  # P, of the endpoints' files
    data_digest: str
    at_split: Tensor  # (D,) W_k
    at_start: Tensor  # (D,) W_0
    folders: tuple[RunFolder, ...]  # P
    diverged: tuple[tuple[int, int], ...] = ()  # (seed, step at which it was seen) of branches left out for that

    def __len__(self) -> int:
        """Returns P."""
        return len(self.seeds)


def load_mode(
    experiment: Experiment,
    split_step: int,
    *,
    seeds: Sequence[int] | None = None,
    allow_missing: bool = False,
    allow_diverged: bool = False,
) -> Mode:
    """Returns the mode of the split at `split_step`.

    Args:
        experiment: names the trunk and the way branches are made.
        split_step: k.
        seeds: the branches that are meant; all that exist if None. Always integers: ``seed=trunk`` is no endpoint.
        allow_missing: leave unfinished branches out instead of refusing.
        allow_diverged: leave diverged branches out instead of refusing.

    Raises:
        UserError: branches are missing, unfinished or diverged, fewer than two are left, or they were trained on different
            data.
        DamagedFile: an endpoint is not what its place says.
    """
    wanted = experiment.split_folder(split_step).branch_seeds() if seeds is None else sorted(seeds)
    diverged = _diverged(experiment, split_step, wanted, allow_diverged=allow_diverged)
    finished = _finished(experiment, split_step, wanted, diverged, allow_missing=allow_missing)
    paths = [experiment.split_folder(split_step).branch(seed).endpoint for seed in finished]
    trained_by = experiment.training_command(f"split_step={split_step}", "-m", f"seed={','.join(map(str, finished))}")
    with _told(trained_by):
        stored = [checkpoint.load(path) for path in paths]
        at_split, at_start = (_trunk_theta(experiment, step) for step in (split_step, 0))
    digests = {item.state["data_digest"] for item in stored} | {experiment.task.dataset.digest}
    if len(digests) > 1:
        raise UserError(
            f"expected all endpoints and the present data to agree, found {len(digests)} data sets among them; "
            "set data_dir back to the data that the branches were trained on, or choose another output_dir"
        )
    layout = experiment.task.layout
    states = [(item.state["model"], path) for item, path in zip(stored, paths, strict=True)]
    buffers = [layout.own_buffers(*state) for state in states]
    return Mode(
        trunk_seed=experiment.trunk_seed,
        split_step=split_step,
        seeds=tuple(finished),
        layout=layout.parameters,
        endpoints=torch.stack([layout.theta(*state) for state in states]),
        buffers={name: torch.stack([own[name] for own in buffers]) for name in layout.buffers},
        path_lengths=torch.tensor([item.state["path_length"] for item in stored], dtype=torch.float64),
        digests=tuple(item.digest for item in stored),
        data_digest=experiment.task.dataset.digest,
        at_split=at_split,
        at_start=at_start,
        folders=tuple(experiment.split_folder(split_step).branch(seed) for seed in finished),
        diverged=tuple(diverged.items()),
    )


def _trunk_theta(experiment: Experiment, step: int) -> Tensor:
    path = experiment.trunk_folder.step(step)
    return experiment.task.layout.theta(checkpoint.module_state(checkpoint.load(path).state), path)


def _diverged(experiment: Experiment, split_step: int, seeds: Sequence[int], *, allow_diverged: bool) -> dict[int, int]:
    """Returns the branches that ended in NaN or infinity, with the step at which that was seen."""
    folder = experiment.split_folder(split_step)
    statuses = {seed: peek_status(folder.branch(seed)) for seed in seeds if not folder.branch(seed).endpoint.exists()}
    diverged = {seed: status["step"] for seed, status in statuses.items() if status.get("state") == "diverged"}
    if diverged and not allow_diverged:
        raise UserError(
            f"expected all branches of {folder.path} to be finite, found diverged ones with "
            f"seed={','.join(map(str, diverged))}; set allow_diverged=true to leave them out, or train otherwise"
        )
    return diverged


@contextmanager
def _told(command: str) -> Iterator[None]:
    """Names the command that makes a file again which is missing or damaged.

    Raises:
        DamagedFile: one is damaged.
        MissingFile: one is missing.
    """
    try:
        yield
    except (DamagedFile, MissingFile) as error:
        raise type(error)(f"{error}: {command}") from error


def _finished(
    experiment: Experiment, split_step: int, seeds: Sequence[int], diverged: Mapping[int, int], *, allow_missing: bool
) -> list[int]:
    folder = experiment.split_folder(split_step)
    finished = [seed for seed in seeds if folder.branch(seed).endpoint.exists()]
    unfinished = [seed for seed in seeds if seed not in finished and seed not in diverged]
    if unfinished and not allow_missing:
        named = f"seed={','.join(map(str, unfinished))}"
        raise UserError(
            f"expected all branches of {folder.path} to be finished, found unfinished ones with {named}; set "
            "allow_missing=true to leave them out, or train them: "
            f"{experiment.training_command(f'split_step={split_step}', '-m', named)}"
        )
    if len(finished) < 2 and diverged:
        raise UserError(
            f"expected at least 2 branches in {folder.path} that did not diverge, since a hull needs P >= 2, found "
            f"{len(finished)} beside {len(diverged)} that did; lower the learning rate or set task.gradient_clip_val, and train"
        )
    if len(finished) < 2:
        raise UserError(
            f"expected at least 2 finished branches in {folder.path}, since a hull needs P >= 2, found {len(finished)}; "
            f"train some: {experiment.training_command(f'split_step={split_step}', '-m', 'seed=range(5)')}"
        )
    return finished
