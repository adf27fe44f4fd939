"""The file of a sweep over a task's keys, in the format of ``wandb sweep``, and the trials that it asks for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product, takewhile
from math import prod
from pathlib import Path
from typing import Any, Literal

import yaml

from lmc_lab.cli import overrides_first
from lmc_lab.configs import folders
from lmc_lab.errors import UserError, nearest, one_line
from lmc_lab.tuning.parameters import Parameter, Values, check_grid, listed, read_parameters
from lmc_lab.values import Count, Name, check_value

Method = Literal["grid", "random", "bayes"]
Goal = Literal["minimize", "maximize"]

_GROUP = "sweeps"
_THIS = "lmc_lab.tune"
_KEYS = ("name", "description", "program", "project", "entity", "command", "method", "metric", "run_cap", "parameters")


@dataclass(frozen=True)
class Sweep:
    """What the file of a sweep says.

    Args:
        name: of the sweep.
        parameters: of the task, by their keys (``task.optimizer.lr``).
        method: how values are chosen.
        metric: what is known of a trial, by which `bayes` chooses the next.
        goal: whether it is to be small or large.
        num_trials: at most; None: as many as a grid has.
        given: the overrides that its command gives each trial.
    """

    name: str
    parameters: Mapping[str, Parameter]
    method: Method
    metric: str
    goal: Goal
    num_trials: int | None
    given: tuple[str, ...]

    @property
    def grid(self) -> Iterator[Values]:
        """Yields every choice of values of a grid, the last parameter's changing fastest."""
        lists = [listed(parameter) for parameter in self.parameters.values()]
        yield from (dict(zip(self.parameters, values, strict=True)) for values in product(*lists))

    @property
    def grid_size(self) -> int:
        """Returns how many these are."""
        return prod(len(listed(parameter)) for parameter in self.parameters.values())


def read_sweep(name: str) -> Sweep:
    """Returns the sweep in a file.

    Args:
        name: a path, or the name of a file in `sweeps/` in a folder of configs.

    Raises:
        UserError: there is none, or it says something that is not understood.
    """
    path = _path_of(name)
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(
            f"expected a sweep in {path}, found a file that is no yaml ({one_line(error)}); mend it"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"expected keys and values in {path}, found {content!r}; write name, method and parameters")
    try:
        return _sweep(content, path.stem)
    except UserError as error:
        raise UserError(f"{error} (in {path})") from None


def _path_of(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"expected the file of a sweep at sweep_config={name}, found none; name another")
        return path
    paths = {path.stem: path for folder in reversed(folders()) for path in sorted((folder / _GROUP).glob("*.yaml"))}
    if name not in paths:
        raise UserError(f"expected a sweep in {_GROUP}/, found '{name}'; {nearest(name, paths)}")
    return paths[name]


def _sweep(content: Mapping[str, Any], stem: str) -> Sweep:
    for key in content:
        if key not in _KEYS:
            raise UserError(f"expected the keys of a sweep, found '{key}'; {nearest(str(key), _KEYS)}")
    name, method, metric = content.get("name", stem), content.get("method"), content.get("metric") or {}
    cap = content.get("run_cap")
    goal = metric.get("goal", "minimize") if isinstance(metric, Mapping) else None
    check_value(name, Name, "name")
    check_value(method, Method, "method")
    check_value(metric, Mapping, "metric")
    check_value(metric.get("name", "onset_p_conv"), str, "metric.name")
    check_value(goal, Goal, "metric.goal")
    check_value(cap, Count | None, "run_cap")
    if method != "grid" and cap is None:
        raise UserError(f"expected run_cap, the number of trials of the method {method}, found none; add it")
    parameters = read_parameters(content.get("parameters", {}))
    if method == "grid":
        check_grid(parameters)
    return Sweep(
        name=name,
        parameters=parameters,
        method=method,  # type: ignore[arg-type]  # checked above, as is the goal
        metric=metric.get("name", "onset_p_conv"),
        goal=goal,  # type: ignore[arg-type]
        num_trials=cap,
        given=_given(content.get("command", [])),
    )


def _given(command: Any) -> tuple[str, ...]:
    """Returns what stands in the command between this program and the parameters."""
    check_value(command, Sequence[str], "command")
    if not command:
        return ()
    programs = [index for index, item in enumerate(command) if item in (_THIS, "${program}")]
    if not programs:
        raise UserError(
            f"expected {_THIS} in command, which a trial is, found {command}; write [python, -m, {_THIS}, …]"
        )
    arguments = overrides_first([item for item in command[programs[0] + 1 :] if not item.startswith("${")])
    return tuple(takewhile(lambda item: not item.startswith("-"), arguments))
