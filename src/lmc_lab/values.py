"""What a setting may be, written as the annotation of an argument or a field: ``num_samples: Count``.

Whoever reads a config compares its values with these before anything is trained or measured; analyses and their settings
also compare their own, for those that are made in a program.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from enum import Enum, StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from lmc_lab.errors import UserError, nearest

_LISTS = (list, tuple, Sequence, Collection, Iterable)
_MAPPINGS = (dict, Mapping)
_PLAIN_TEXT = re.compile(r"(?!(null|true|false|inf|nan)$)[a-z_/][\w./-]*", re.ASCII | re.IGNORECASE)  # for Hydra
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", NoneType: "null"}


@dataclass(frozen=True)
class Condition:
    """A condition on a value beyond its type, with the words that follow those of the type in a sentence."""

    words: str
    holds: Callable[[Any], bool]


def at_least(minimum: float, because: str = "") -> Condition:
    """Returns the condition for finite numbers from `minimum` on."""
    reason = f", since {because}" if because else ""
    return Condition(f">= {minimum}{reason}", lambda value: minimum <= value < math.inf)


def distinct(num_items: int = 1) -> Condition:
    """Returns the condition for lists of at least `num_items` items, none of them twice."""
    return Condition(
        f"({num_items} or more, none of them twice)",
        lambda items: len(items) >= num_items and len(set(map(_compared, items))) == len(items),
    )


def _compared(item: Any) -> Any:
    """Returns what tells an item of a list from others: a number's value, so that 0 is 0.0, and else its text."""
    return item if isinstance(item, int | float) and not isinstance(item, bool) else str(item)


_IS_FILE_NAME = Condition(
    "of letters, digits, '.', '_', '-' and '+' that does not begin with a dot",
    lambda text: re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]*", text) is not None,
)

_INCIDENTAL = "incidental"


def incidental(default: Any) -> Any:
    """Returns a field with a default that is about how a number is computed, and changes no more of it than its rounding.

    A result is not known by it.
    """
    return field(default=default, metadata={_INCIDENTAL: True})


def is_incidental(of: "Field[Any]") -> bool:
    """Returns whether `incidental` made the field."""
    return _INCIDENTAL in of.metadata


Natural = Annotated[int, at_least(0)]
Count = Annotated[int, at_least(1)]
Seed = Annotated[int, Condition(">= 0 and < 2**63", lambda value: 0 <= value < 2**63)]  # the rows hold int64
Positive = Annotated[float, Condition("> 0", lambda value: 0 < value < math.inf)]
NotNegative = Annotated[float, at_least(0)]
Share = Annotated[float, Condition("from 0 to 1", lambda value: 0 <= value <= 1)]
Name = Annotated[str, _IS_FILE_NAME]  # becomes a part of a path, and must not lead out of its folder


def fits(value: Any, kind: Any) -> bool:
    """Returns whether plain data of a config is what the annotation `kind` asks for; True where that cannot be judged.

    A class that has no form in a config is not judged: what is written for a `torch.device` is a text.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        named = choices(kind)
        conditions = [item for item in arguments[1:] if isinstance(item, Condition)]
        is_one = not named or value in named
        return is_one and fits(value, arguments[0]) and all(condition.holds(value) for condition in conditions)
    if origin in (Union, UnionType):
        return _fits_one_of(value, arguments)
    if origin is Literal:
        return any(value == item and type(value) is type(item) for item in arguments)
    if (origin or kind) in _LISTS:
        return _is_list(value) and _items_fit(value, origin, arguments)
    if (origin or kind) in _MAPPINGS:
        return isinstance(value, Mapping)
    return _fits_plain(value, kind)


def words(kind: Any) -> str:
    """Returns what an annotation asks for: ``a whole number >= 1 or null``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated and choices(kind):
        return f"one of {', '.join(choices(kind))}"
    if origin is Annotated:
        return " ".join([words(arguments[0]), *(item.words for item in arguments[1:] if isinstance(item, Condition))])
    if origin in (Union, UnionType):
        return " or ".join(words(item) for item in arguments if _is_plain(item))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}" if len(arguments) > 1 else f"'{arguments[0]}'"
    if (origin or kind) in _LISTS:
        return "a list" + (f" in which each is {words(arguments[0])}" if arguments and _is_plain(arguments[0]) else "")
    if (origin or kind) in _MAPPINGS:
        return "a mapping of keys to values"
    return _WORDS.get(kind, str(kind))


def choices(kind: Any) -> list[str]:
    """Returns the texts that an annotation names one by one: in a `Literal`, in ``Annotated[str, SomeStrEnum]``."""
    if get_origin(kind) is Literal:
        return [item for item in get_args(kind) if isinstance(item, str)]
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType, Annotated) else ()
    named = [str(member) for part in parts if isinstance(part, type) and issubclass(part, StrEnum) for member in part]
    return named + [text for part in parts for text in choices(part)]


def check_value(value: Any, kind: Any, key: str) -> None:
    """Compares the value of a key with an annotation.

    Raises:
        UserError: it is something else.
    """
    if not fits(value, kind):
        names = choices(kind)
        what_to_do = nearest(value, names, "change it") if names and isinstance(value, str) else "change it"
        raise UserError(f"expected {key} to be {words(kind)}, found {shown(value)}; {what_to_do}")


def check_fields(settings: Any, key: str) -> None:
    """Compares the fields of a dataclass with their annotations, whoever makes it.

    Raises:
        UserError: one is something else.
    """
    kinds = get_type_hints(type(settings), include_extras=True)
    for each in fields(settings):
        check_value(getattr(settings, each.name), kinds[each.name], f"{key}.{each.name}")


def shown(value: Any) -> str:
    """Returns a value as it is written in a config."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"'{value}'" if isinstance(value, str) else str(value)


def override_text(value: object) -> str:
    """Returns a value as an override of Hydra's has it, a text between quotation marks unless it is plainly one."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{override_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(override_text, value))}]"
    if isinstance(value, str):
        return value if _PLAIN_TEXT.fullmatch(value) else _quoted(value)
    return shown(value)


def _quoted(text: str) -> str:
    """Returns a text between quotation marks; of its backslashes those are doubled that stand before one."""
    inside = re.sub(r'(\\*)("|\Z)', lambda found: 2 * found[1] + ('\\"' if found[2] else ""), text)
    return f'"{inside}"'


def overrides_of(node: str, values: Mapping[str, Any]) -> list[str]:
    """Returns the values of a node of the config as overrides."""
    return [f"{node}.{key}={override_text(value)}" for key, value in values.items()]


def _fits_one_of(value: Any, kinds: Sequence[Any]) -> bool:
    if any(_is_plain(kind) and fits(value, kind) for kind in kinds):
        return True
    others = [kind for kind in kinds if not _is_plain(kind)]
    # `float | Tensor` has a form in a config, and a text is neither; `Path | None` has none but that of a text.
    has_form = any(_is_plain(kind) for kind in kinds if kind is not NoneType)
    return bool(others) and not (has_form and all(_is_class(kind) and not isinstance(value, kind) for kind in others))


def _fits_plain(value: Any, kind: Any) -> bool:
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if kind is str:
        return isinstance(value, str)
    return value is None if kind in (None, NoneType) else True


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _items_fit(items: Sequence[Any], origin: Any, kinds: Sequence[Any]) -> bool:
    if origin is tuple and Ellipsis not in kinds:
        return len(items) == len(kinds) and all(map(fits, items, kinds))
    return not kinds or all(fits(item, kinds[0]) for item in items)


def _is_plain(kind: Any) -> bool:
    """Returns whether an annotation has a form in a config."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _is_plain(get_args(kind)[0])
    return kind in _WORDS or origin in (Union, UnionType, Literal) or (origin or kind) in (*_LISTS, *_MAPPINGS)


def _is_class(kind: Any) -> bool:
    """Returns whether `isinstance` can judge an annotation, and a config's data would be what it says."""
    return isinstance(kind, type) and not getattr(kind, "_is_protocol", False) and not issubclass(kind, Enum)
