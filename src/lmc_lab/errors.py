from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

Choice = TypeVar("Choice", bound=StrEnum)


class UserError(Exception):
    """What the user can mend: one sentence with what was expected, what was found and what to do."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Returns ``did you mean 'lenet'?`` for the closest valid name, else the list of valid names."""
    names = sorted(set(valid))
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"choose one of: {', '.join(names)}"


def member(choices: type[Choice], value: str, key: str) -> Choice:
    """Returns the member of an enumeration that a key of the config names.

    Raises:
        UserError: it names none.
    """
    try:
        return choices(value)
    except ValueError as error:
        valid = ", ".join(choices)
        raise UserError(
            f"expected {key} to be one of {valid}, found '{value}'; {nearest(str(value), choices)}"
        ) from error
