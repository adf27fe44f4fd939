"""Commands as they were given, which are shown to be given again."""

import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise


def where_to_give(commands: Sequence[str]) -> str:
    """Returns ``, in the folder …`` where commands name folders of configs that are relative to one, else nothing."""
    relative = dict.fromkeys(folder for command in commands for folder in _config_dirs(command) if folder[0] != "/")
    if not relative:
        return ""
    return f", in the folder where they were first given, to which --config-dir {' and '.join(relative)} is relative"


def words_of(command: str) -> list[str]:
    """Returns the words of a command that was kept; one that was kept without its quotation marks is torn at spaces."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _config_dirs(command: str) -> Iterator[str]:
    words = words_of(command)
    return (value for flag, value in pairwise(words) if flag == "--config-dir" and value)
