"""Nodes with a `_target_`: what is written there is compared with what the target takes before anything is called."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import Parameter, Signature
from types import ModuleType
from typing import Any, TypeVar

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from lmc_lab.errors import UserError, closest, is_users_own, modules_of, nearest, one_line
from lmc_lab.values import check_value, shown

Result = TypeVar("Result")

LOGGER_CALL: dict[str, Any] = {"num_positional": 1, "named": ("output_dir", "config")}  # how a logger of runs is made

_MODULE_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_OF_HYDRA = re.compile(r"_\w+_")  # _target_, _partial_, _args_ …
_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def factory(config: DictConfig, key: str, *, num_positional: int = 0, named: Sequence[str] = ()) -> Callable[..., Any]:
    """Returns what calls the target of the node `key` with further arguments.

    Args:
        config: in which the node is.
        key: where.
        num_positional: how many arguments it will be called with.
        named: and with which by their names.

    Raises:
        UserError: there is no such target, or it does not take the arguments.
    """
    node = OmegaConf.select(config, key)
    check_node(plain(node), key, num_positional=num_positional, named=named)

    def call(*arguments: Any, **keywords: Any) -> Any:
        # Through `_partial_`, since Hydra would copy the arguments and take a `_target_` inside them for a call.
        settings = {"_partial_": True, "_convert_": node.get("_convert_", "all")}
        return translated(key, node["_target_"], lambda: instantiate(node, **settings)(*arguments, **keywords))

    return call


def translated(key: str, target: str, make: Callable[[], Result]) -> Result:
    """Returns `make()`, which only calls the target of the node `key`; what a library refuses becomes a sentence.

    Raises:
        UserError: the target, code of a library, refuses its arguments. What comes out of the user's own code, or out of
            this package's (whose arguments are compared with their annotations), stays what it is.
    """
    try:
        return make()
    except InstantiationException as error:  # of a node inside it
        reason = error.__cause__ or error
    except Exception as error:
        reason = error
    if not _is_refusal(reason):
        raise reason from reason.__cause__
    raise UserError(
        f"expected {key} to be what {target} takes, found that it answers: {one_line(reason)}; change it"
    ) from reason


def _is_refusal(error: BaseException) -> bool:
    """Returns whether a library refuses its arguments, called from nowhere but here."""
    is_about_arguments = isinstance(error, InstantiationException | TypeError | ValueError | ArithmeticError)
    is_ours = any(module.startswith("lmc_lab.") and module != __name__ for module in modules_of(error))
    # torch says much with a RuntimeError; those of a kind of their own, like a lack of memory, are about something else.
    return (is_about_arguments or type(error) is RuntimeError) and not is_ours and not is_users_own(error)


def plain(node: Any) -> Any:
    """Returns a node as dicts and lists."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def check_node(node: Any, key: str, *, num_positional: int = 0, named: Sequence[str] = ()) -> None:
    """Compares a node, plain data, and the nodes inside it with what their targets take.

    Args:
        node: with its `_target_`.
        key: where it is.
        num_positional: how many further arguments the target will be called with.
        named: and with which by their names.

    Raises:
        UserError: there is no such target, or it does not take the arguments.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise UserError(f"expected {key} to be a node with a _target_, found {shown(node)}; write what it is made by")
    signature = _signature(locate(node["_target_"], key))
    given = {str(name): value for name, value in node.items() if not _OF_HYDRA.fullmatch(str(name))}
    if signature is not None:
        num_positional += len(node.get("_args_") or ())
        _check_names(signature, given, key, node["_target_"], num_positional)
        is_left_open = node.get("_partial_") and not num_positional and not named
        if not is_left_open:
            _check_call(signature, [*given, *named], key, node["_target_"], num_positional)
        _check_values(signature, given, key)
    for path, inner in _inner_nodes(given, key):
        check_node(inner, path)


def check_arguments(target: Callable[..., Any], given: Mapping[str, Any], key: str) -> None:
    """Compares the mapping at `key` with the arguments that a class or a function takes.

    Raises:
        UserError: there is one that it does not take, or that is something else.
    """
    signature = inspect.signature(target, eval_str=True)
    _check_names(signature, given, key, target.__name__, 0)
    _check_values(signature, given, key)


def _check_values(signature: Signature, given: Mapping[str, Any], key: str) -> None:
    for name, value in given.items():
        parameter = signature.parameters.get(name)
        is_node = isinstance(value, Mapping) and "_target_" in value
        if parameter is not None and not is_node and value != parameter.default:
            check_value(value, parameter.annotation, f"{key}.{name}")


def locate(target: Any, key: str) -> Callable[..., Any]:
    """Returns the class or function with a dotted name.

    Raises:
        UserError: there is none. An error while a module of the user's is imported stays what it is.
    """
    if not isinstance(target, str) or not _MODULE_PATH.fullmatch(target):
        raise UserError(
            f"expected {key}._target_ to be a dotted name like torch.optim.SGD, found {shown(target)}; change it"
        )
    found: Any = None
    path, names = "", target.split(".")
    for i, name in enumerate(names):
        inner = getattr(found, name, None)
        if inner is None and (found is None or isinstance(found, ModuleType)):
            inner = _module(f"{path}{name}")
        if inner is None:
            similar = closest(name, _members(found))
            what_to_do = "set PYTHONPATH to the folder that has it" if found is None else "change it"
            meant = ".".join([*names[:i], similar, *names[i + 1 :]]) if similar else None
            raise UserError(
                f"expected {key}._target_ to name a class or a function, found '{target}', and no '{path}{name}'; "
                + (f"did you mean '{meant}'?" if meant else what_to_do)
            )
        found, path = inner, f"{path}{name}."
    if not callable(found):
        raise UserError(
            f"expected {key}._target_ to name a class or a function, found '{target}', which is neither; change it"
        )
    return found


def argument_names(target: str, key: str) -> list[str]:
    """Returns the names of the arguments that a target takes.

    Raises:
        UserError: there is no such target.
    """
    signature = _signature(locate(target, key))
    return (
        [] if signature is None else [name for name, parameter in signature.parameters.items() if _has_name(parameter)]
    )


def _has_name(parameter: Parameter) -> bool:
    return parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def _module(name: str) -> ModuleType | None:
    """Returns a module, or None if there is none of this name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise  # it is there, and imports what is not


def _members(found: Any) -> list[str]:
    """Returns what may follow in a dotted name: modules, and what can be called or has such."""
    if found is None:
        return [module.name for module in pkgutil.iter_modules()]
    modules = [module.name for module in pkgutil.iter_modules(getattr(found, "__path__", []))]
    return modules + [name for name in dir(found) if not name.startswith("_") and callable(getattr(found, name, None))]


def _signature(target: Callable[..., Any]) -> Signature | None:
    """Returns what a target takes, or None for one that does not say."""
    for evaluates in (True, False):  # names that only a type checker imports cannot be evaluated
        try:
            return inspect.signature(target, eval_str=evaluates)
        except Exception:  # noqa: S112
            continue
    return None


def _check_names(signature: Signature, given: Mapping[str, Any], key: str, target: str, num_positional: int) -> None:
    parameters = signature.parameters.values()
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return
    taken = [parameter.name for parameter in parameters if parameter.kind in _BY_POSITION][:num_positional]
    valid = [parameter.name for parameter in parameters if _has_name(parameter) and parameter.name not in taken]
    for name in given:
        if name not in valid:
            raise UserError(
                f"expected {key} to have arguments of {target}, found '{name}'; "
                + (nearest(name, valid) if valid else "drop it, since there are none")
            )


def _check_call(signature: Signature, names: Sequence[str], key: str, target: str, num_positional: int) -> None:
    try:
        signature.bind(*[None] * num_positional, **dict.fromkeys(names))
    except TypeError as error:
        if match := re.fullmatch(r"missing a required (?:keyword-only )?argument: '(\w+)'", str(error)):
            name = match[1]
            raise UserError(f"expected {key}.{name}, which {target} needs, found none; add +{key}.{name}=…") from error
        raise UserError(
            f"expected {target}, at {key}, to be called with {num_positional} arguments and {', '.join(names) or 'no names'}, "
            f"found that it takes {signature}; change its arguments"
        ) from error


def _inner_nodes(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yields the nodes with a target inside plain data, with their keys."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        if isinstance(item, Mapping) and "_target_" in item:
            yield f"{key}.{name}", item
        else:
            yield from _inner_nodes(item, f"{key}.{name}")


def check_logger(config: DictConfig) -> None:
    """Compares the node of the logger, if there is one, with what its target takes.

    Raises:
        UserError: it is something else.
    """
    if config.logger:
        check_node(plain(config.logger), "logger", **LOGGER_CALL)
