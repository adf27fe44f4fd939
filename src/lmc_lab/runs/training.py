"""The branches behind a mode's endpoints: which of them are finished, and what their files say of the way that they took."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from lmc_lab.errors import UserError
from lmc_lab.files import DamagedFile, MissingFile
from lmc_lab.results.part import Part
from lmc_lab.runs import checkpoint
from lmc_lab.runs.chosen_examples import stored_choice
from lmc_lab.runs.curve import Row
from lmc_lab.runs.curve_check import whole_curve
from lmc_lab.runs.experiment import Experiment
from lmc_lab.runs.paths import RunFolder, SplitFolder
from lmc_lab.runs.states import RunState, Trunk, check_saved, load_states, load_trunk
from lmc_lab.runs.status import NoBranches, peek_status
from lmc_lab.runs.subject import Request
from lmc_lab.tasks.state_dicts import Endpoints
from lmc_lab.tasks.task import Task


@dataclass(frozen=True)
class Training:
    """How P endpoints came about: as branches of one split of one trunk."""

    part: Part
    endpoint_digests: tuple[str, ...]  # P, of the files
    folders: tuple[RunFolder, ...]  # P
    trunk: Trunk  # with its states W_0 and W_k
    task: Task
    trained_by: str  # the command that makes a file again which is missing or damaged
    steps: tuple[int, ...] = ()  # at which an analysis wants to see the branches on their way

    @property
    def endpoints(self) -> Endpoints:
        """W_T of each branch, (P, D), or W_t of branches on their way, and its buffers."""
        layout = self.task.layout
        states = [(_weights(item.state), file) for item, file in zip(self._stored, self._files, strict=True)]
        thetas = torch.stack([layout.theta(*state) for state in states])
        buffers_of_all = [layout.own_buffers(*state) for state in states]
        return Endpoints(
            thetas, {name: torch.stack([buffers[name] for buffers in buffers_of_all]) for name in layout.buffers}
        )

    @property
    def path_lengths(self) -> Tensor:
        """The length of each branch's path from W_0, (P,) float64."""
        return torch.tensor([_path_length(item.state) for item in self._stored], dtype=torch.float64)

    @property
    def last_step(self) -> int:
        """The step at which the branches ended, or t."""
        return int(self._stored[0].state["step"] if self.part.step is None else self.part.step)

    @property
    def at_start(self) -> Tensor:
        """W_0, (D,)."""
        with _with_command(self.trained_by):
            return self.trunk.states[0].theta

    @property
    def at_split(self) -> Tensor:
        """W_k, (D,)."""
        return self.split_state.theta

    @property
    def split_state(self) -> RunState:
        """W_k with its buffers."""
        with _with_command(self.trained_by):
            return self.trunk.states[-1]

    @property
    def curves(self) -> list[list[Row]]:
        """The loss curve of each branch."""
        return [whole_curve(folder) for folder in self.folders]

    @property
    def examples(self) -> Tensor | None:
        """Which training examples the branches saw, int64 (n,); None for all."""
        return stored_choice(SplitFolder(self.folders[0].path.parent), self.task.dataset.digest)

    @property
    def steps_on_the_way(self) -> list[int]:
        """Those of `steps` that lie after the split and before the end."""
        split_step = self.trunk.steps[-1]
        return [step for step in sorted(self.steps) if split_step < step < self.last_step]

    def states_of(self, index: int) -> list[RunState]:
        """Returns the states of a branch at `steps_on_the_way`."""
        return load_states(self.task, self.folders[index], self.steps_on_the_way)

    @cached_property
    def _stored(self) -> list[checkpoint.Stored]:
        with _with_command(self.trained_by):
            return [checkpoint.load(file) for file in self._files]

    @property
    def _files(self) -> list[Path]:
        return [_file(folder, self.part.step) for folder in self.folders]


def _file(folder: RunFolder, at_step: int | None) -> Path:
    return folder.endpoint if at_step is None else folder.step(at_step)


def _weights(state: checkpoint.State) -> Mapping[str, Tensor]:
    """Returns the weights and buffers of an endpoint, or of a state on the way."""
    return state["model"] if "model" in state else checkpoint.module_state(state)


def _path_length(state: checkpoint.State) -> float:
    return float(state["path_length"] if "path_length" in state else checkpoint.path_length(state))


def find_training(experiment: Experiment, request: Request) -> Training:
    """Returns the branches that are named, or all that exist, of one split.

    Args:
        experiment: names the trunk and the way branches are made.
        request: what is to be measured.

    Raises:
        NoBranches: no examples were chosen for them.
        UserError: not one split is named; branches are missing, unfinished or diverged, fewer than are needed are left, or they
            were trained on different data.
        DamagedFile: an endpoint is not what its address says.
    """
    if len(request.split_steps) != 1:
        given_steps = ", ".join(map(str, request.split_steps)) or "none"
        raise UserError(f"expected one split_step to analyse, found {given_steps}; add split_step=2000, say")
    (step,) = request.split_steps
    _check_on_the_way(experiment, step, request.at_step)
    split = experiment.split_folder(step)
    if experiment.variation.examples is not None:
        _check_chosen(split, experiment.task.dataset.digest)
    wanted = split.branch_seeds() if request.seeds is None else sorted(request.seeds)
    diverged = _diverged(experiment, step, wanted, allow_diverged=request.allow_diverged)
    finished = _finished(experiment, step, wanted, diverged, request)
    named = f"seed={','.join(map(str, finished))}"
    saved = [] if request.at_step is None else [f"run.save_steps=[{request.at_step}]"]
    trained_by = experiment.training_command(f"split_step={step}", *saved, "-m", named)
    folders = tuple(split.branch(seed) for seed in finished)
    for folder in folders if saved else ():
        check_saved(folder, [request.at_step or 0])
    with _with_command(trained_by):
        identities = [checkpoint.identify(_file(folder, request.at_step)) for folder in folders]
        for of_trunk in {0, step}:
            checkpoint.identify(experiment.trunk_folder.step(of_trunk))
    _check_data({each.data_digest for each in identities} | {experiment.task.dataset.digest})
    return Training(
        part=Part(experiment.trunk_seed, step, tuple(finished), tuple(diverged.items()), step=request.at_step),
        endpoint_digests=tuple(each.digest for each in identities),
        folders=folders,
        trunk=load_trunk(experiment, sorted({0, step})),
        task=experiment.task,
        trained_by=trained_by,
        steps=tuple(request.steps or ()),
    )


def _check_chosen(split: SplitFolder, data_digest: str) -> None:
    chosen = stored_choice(split, data_digest)
    if chosen is not None and not len(chosen):
        raise NoBranches(split)


def _check_on_the_way(experiment: Experiment, split_step: int, at_step: int | None) -> None:
    if at_step is not None and not experiment.is_on_the_way(at_step, split_step):
        raise UserError(
            f"expected steps on the way of branches, between split_step={split_step} and their end at "
            f"{experiment.last_step(split_step)}, found {at_step}; leave it out"
        )


def _check_data(digests: Collection[str]) -> None:
    if len(digests) > 1:
        raise UserError(
            f"expected all endpoints and the present data to agree, found {len(digests)} data sets among them; "
            "set data_dir back to the data that the branches were trained on, or choose another output_dir"
        )


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
def _with_command(command: str) -> Iterator[None]:
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
    experiment: Experiment, split_step: int, seeds: Sequence[int], diverged: Mapping[int, int], request: Request
) -> list[int]:
    folder = experiment.split_folder(split_step)
    finished = [seed for seed in seeds if folder.branch(seed).endpoint.exists()]
    unfinished = [seed for seed in seeds if seed not in finished and seed not in diverged]
    if unfinished and not request.allow_missing:
        named = f"seed={','.join(map(str, unfinished))}"
        raise UserError(
            f"expected all branches of {folder.path} to be finished, found unfinished ones with {named}; set "
            "allow_missing=true to leave them out, or train them: "
            f"{experiment.training_command(f'split_step={split_step}', '-m', named)}"
        )
    least = f"at least {request.fewest}"
    why = ", since a hull needs P >= 2" if request.fewest > 1 else ""
    if len(finished) < request.fewest and diverged:
        raise UserError(
            f"expected {least} branches in {folder.path} that did not diverge{why}, found "
            f"{len(finished)} beside {len(diverged)} that did; lower the learning rate or set task.gradient_clip_val, and train"
        )
    if len(finished) < request.fewest:
        raise UserError(
            f"expected {least} finished branches in {folder.path}{why}, found {len(finished)}; "
            f"train some: {experiment.training_command(f'split_step={split_step}', '-m', 'seed=range(5)')}"
        )
    return finished
