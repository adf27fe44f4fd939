"""The file of a sweep over a task's keys, in the format of ``wandb sweep``, and the trials that it asks for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal

import yaml

from lmc_lab.configs import folders
from lmc_lab.errors import UserError, nearest
from lmc_lab.values import Count, Name, check_value

Value = float | int | str | bool | None
Values = dict[str, Value]
Method = Literal["grid", "random", "bayes"]
Goal = Literal["minimize", "maximize"]
Distribution = Literal["constant", "categorical", "uniform", "int_uniform", "q_uniform", "log_uniform_values"]

_GROUP = "sweeps"
_THIS = "lmc_lab.tune"
_KEYS = ("name", "description", "program", "project", "entity", "command", "method", "metric", "run_cap", "parameters")


@dataclass(frozen=True)
class Choices:
    """A parameter that is one of some values."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """A parameter between two numbers, both of which it may be.

    Args:
        low: the smallest.
        high: the largest.
        step: between neighbours, counted from `low`; None: any number.
        is_log: whether its logarithm is spread evenly, and not itself.
    """

    low: float
    high: float
    step: float | None = None
    is_log: bool = False

    @property
    def is_whole(self) -> bool:
        """Returns whether its values are whole numbers, each one."""
        return self.step == 1 and isinstance(self.low, int)


Parameter = Choices | Range


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
        lists = [_listed(parameter) for parameter in self.parameters.values()]
        yield from (dict(zip(self.parameters, values, strict=True)) for values in product(*lists))

    @property
    def grid_size(self) -> int:
        """Returns how many these are."""
        return prod(len(_listed(parameter)) for parameter in self.parameters.values())


def read_sweep(place: str) -> Sweep:
    """Returns the sweep in a file.

    Args:
        place: a path, or the name of a file in `sweeps/` in a folder of configs.

    Raises:
        UserError: there is none, or it says something that is not understood.
    """
    path = _path_of(place)
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(
            f"expected a sweep in {path}, found a file that is no yaml ({' '.join(str(error).split())}); mend it"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"expected keys and values in {path}, found {content!r}; write name, method and parameters")
    try:
        return _sweep(content, path.stem)
    except UserError as error:
        raise UserError(f"{error} (in {path})") from None


def _path_of(place: str) -> Path:
    if place.endswith((".yaml", ".yml")):
        path = Path(place)
        if not path.is_file():
            raise UserError(f"expected the file of a sweep at sweep_config={place}, found none; name another")
        return path
    found = {path.stem: path for folder in reversed(folders()) for path in sorted((folder / _GROUP).glob("*.yaml"))}
    if place not in found:
        raise UserError(f"expected a sweep in {_GROUP}/, found '{place}'; {nearest(place, found)}")
    return found[place]


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
    parameters = _parameters(content.get("parameters", {}))
    if method == "grid":
        _check_grid(parameters)
    return Sweep(
        name=name,
        parameters=parameters,
        method=method,
        metric=metric.get("name", "onset_p_conv"),
        goal=goal,  # type: ignore[arg-type]  # checked above
        num_trials=cap,
        given=_given(content.get("command", [])),
    )


def _given(command: Any) -> tuple[str, ...]:
    """Returns what stands in the command between this program and the parameters."""
    check_value(command, Sequence[str], "command")
    if not command:
        return ()
    if _THIS not in command:
        raise UserError(
            f"expected {_THIS} in command, which a trial is, found {command}; write [python, -m, {_THIS}, …]"
        )
    return tuple(item for item in command[command.index(_THIS) + 1 :] if not item.startswith("${"))


def _parameters(given: Any) -> dict[str, Parameter]:
    check_value(given, Mapping, "parameters")
    for key in given:
        if not str(key).startswith("task."):
            raise UserError(f"expected parameters of the task, found '{key}'; write task.…, as in task.optimizer.lr")
    if not given:
        raise UserError("expected parameters, found none; add task.optimizer.lr: {values: [0.01, 0.1]}")
    return {str(key): _parameter(f"parameters.{key}", settings) for key, settings in given.items()}


def _parameter(key: str, given: Any) -> Parameter:
    check_value(given, Mapping, key)
    kind = given.get("distribution") or _implied(given)
    check_value(kind, Distribution, f"{key}.distribution")
    if kind == "constant":
        return Choices((_plain_value(given.get("value"), f"{key}.value"),))
    if kind == "categorical":
        values = given.get("values")
        check_value(values, Sequence, f"{key}.values")
        if not values:
            raise UserError(f"expected values at {key}.values, found none; name one or more")
        return Choices(tuple(_plain_value(value, f"{key}.values") for value in values))
    return _range(key, kind, given)


def _implied(given: Mapping[str, Any]) -> str:
    """Returns the distribution that is meant where none is named, as Weights & Biases takes it."""
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical"
    return "int_uniform" if all(type(given.get(end)) is int for end in ("min", "max")) else "uniform"


def _range(key: str, kind: str, given: Mapping[str, Any]) -> Range:
    low, high = (_number(given.get(end), f"{key}.{end}") for end in ("min", "max"))
    if not low < high or (kind == "log_uniform_values" and low <= 0):
        positive = "0 < " if kind == "log_uniform_values" else ""
        raise UserError(f"expected {positive}min < max at {key}, found {low} and {high}; change them")
    if kind == "int_uniform":
        check_value(given["min"], int, f"{key}.min")
        check_value(given["max"], int, f"{key}.max")
        return Range(int(low), int(high), 1)
    step = _number(given.get("q", 1), f"{key}.q") if kind == "q_uniform" else None
    if step is not None and step <= 0:
        raise UserError(f"expected {key}.q > 0, found {step}; change it")
    return Range(low, high, step, is_log=kind == "log_uniform_values")


def _number(value: Any, key: str) -> float:
    """Returns a number, also one that yaml takes for a text: 1e-3."""
    try:
        return value if isinstance(value, int) and not isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        raise UserError(f"expected a number at {key}, found {value!r}; write one") from None


def _plain_value(value: Any, key: str) -> Value:
    if value is None or isinstance(value, bool | int | float):
        return value
    if not isinstance(value, str):
        raise UserError(f"expected a number, a text, true, false or null at {key}, found {value!r}; change it")
    try:
        return float(value)  # 1e-3, which yaml takes for a text
    except ValueError:
        return value


def _check_grid(parameters: Mapping[str, Parameter]) -> None:
    for key, parameter in parameters.items():
        if isinstance(parameter, Range) and parameter.step is None:
            raise UserError(
                f"expected values of parameters.{key}, of which the method grid takes all, found a range; list them"
            )


def _listed(parameter: Parameter) -> list[Value]:
    if isinstance(parameter, Choices):
        return list(parameter.values)
    assert parameter.step is not None
    number = int((parameter.high - parameter.low) / parameter.step + 1e-9) + 1
    return [parameter.low + parameter.step * each for each in range(number)]
