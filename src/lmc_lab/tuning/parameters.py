"""Parameters of a sweep: keys of a task, and the values that they may have."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lmc_lab.errors import UserError
from lmc_lab.values import check_value

Value = float | int | str | bool | None
Values = dict[str, Value]
Distribution = Literal["constant", "categorical", "uniform", "int_uniform", "q_uniform", "log_uniform_values"]


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
        return all(isinstance(number, int) for number in (self.low, self.high, self.step))


Parameter = Choices | Range


def read_parameters(given: Any) -> dict[str, Parameter]:
    """Returns the parameters in the file of a sweep by their keys.

    Raises:
        UserError: they are something else.
    """
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
    _check_keys(key, kind, given)
    if kind == "constant":
        return Choices((_plain_value(given.get("value"), f"{key}.value"),))
    if kind == "categorical":
        values = given.get("values")
        check_value(values, Sequence, f"{key}.values")
        if not values:
            raise UserError(f"expected values at {key}.values, found none; name one or more")
        return Choices(tuple(_plain_value(value, f"{key}.values") for value in values))
    return _range(key, kind, given)


def _check_keys(key: str, kind: str, given: Mapping[str, Any]) -> None:
    takes = {"constant": ["value"], "categorical": ["values"], "q_uniform": ["min", "max", "q"]}.get(
        kind, ["min", "max"]
    )
    for name in given:
        if name not in ("distribution", *takes):
            raise UserError(
                f"expected {kind} at {key} to have {' and '.join(takes)}, found '{name}' beside; leave it out"
            )


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
    return float(value) if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value) else value  # 1e-3, a text to yaml


def check_grid(parameters: Mapping[str, Parameter]) -> None:
    """Refuses parameters that are not a number of values.

    Raises:
        UserError: one is a range of any number.
    """
    for key, parameter in parameters.items():
        if isinstance(parameter, Range) and parameter.step is None:
            raise UserError(
                f"expected values of parameters.{key}, of which the method grid takes all, found a range; list them"
            )


def listed(parameter: Parameter) -> list[Value]:
    """Returns the values of a parameter of a grid."""
    if isinstance(parameter, Choices):
        return list(parameter.values)
    assert parameter.step is not None
    number = int((parameter.high - parameter.low) / parameter.step + 1e-9) + 1
    return [rounded(parameter.low + parameter.step * index) for index in range(number)]


def rounded(value: Value) -> Value:
    """Returns a number without the digits that adding up steps leaves behind: 0.6, not 0.6000000000000001."""
    return round(value, 12) if isinstance(value, float) else value
