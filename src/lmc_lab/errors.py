"""Errors that the user can mend, and whose code an error comes from."""

import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from types import FrameType
from typing import Any

# Whose functions take settings of the user's and refuse them; what any other code raises in between is its author's matter.
_OURS = frozenset({"lmc_lab", "hydra_plugins"})
_LIBRARIES = frozenset(
    {
        "PIL", "antlr4", "cloudpickle", "filelock", "fsspec", "hydra", "lightning", "lightning_fabric", "lightning_utilities",
        "matplotlib", "mnist1d", "numpy", "omegaconf", "pandas", "pyarrow", "safetensors", "scipy",
        "torch", "torchmetrics", "torchvision", "tqdm", "wandb", "yaml",
    }
)  # fmt: skip
_CLEAR, _CLOSE = 0.85, 0.5  # how similar names are (difflib) of which one is meant, or may be meant


class UserError(Exception):
    """An error that the user can mend: one sentence with what was expected, what was found and what to do."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Comes through pickle, as from another process, whatever arguments a subclass is made with."""
        return type(self).__new__, (type(self), *self.args), self.__dict__


def nearest(name: str, valid: Iterable[str], otherwise: str | None = None) -> str:
    """Returns ``did you mean 'lenet' or 'lenet_m'?`` for up to three close names, else `otherwise`: by default all names.

    One that differs by a letter or two is the only one that is named.
    """
    names = sorted(set(valid))
    close = get_close_matches(name, names, n=1, cutoff=_CLEAR) or get_close_matches(name, names, n=3, cutoff=_CLOSE)
    if not close:
        return otherwise or f"choose one of: {', '.join(names)}"
    *others, last = [f"'{each}'" for each in close]
    return f"did you mean {' or '.join(filter(None, [', '.join(others), last]))}?"


def clearly_meant(name: str, valid: Iterable[str]) -> str | None:
    """Returns the valid name that differs from `name` by a letter or two, if there is one."""
    return next(iter(get_close_matches(name, sorted(set(valid)), n=1, cutoff=_CLEAR)), None)


def closest(name: str, valid: Iterable[str]) -> str | None:
    """Returns the valid name that `name` may have been meant to be, if there is one."""
    return next(iter(get_close_matches(name, sorted(set(valid)), n=1, cutoff=_CLOSE)), None)


def one_line(error: BaseException) -> str:
    """Returns the message of an error of someone else's, or its name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def is_users_own(error: BaseException) -> bool:
    """Returns whether an error, or the one behind it, was raised by code of the user's or by what that called.

    Such an error keeps its traceback, which says where: it is a mistake in a program, not in a setting.
    """
    return any(map(_own_frames, _chain(error)))


def traceback_of(error: BaseException) -> str:
    """Returns the traceback of an error: of the user's own code alone where it came through some.

    All of it where `LMC_DEBUG` is set. What a library's frames say of a mistake in a model is long, and says it last.
    """
    links = [link for link in _chain(error) if isinstance(link, SyntaxError) or _own_frames(link)]
    if os.environ.get("LMC_DEBUG") or not links:
        return "".join(traceback.format_exception(error))
    texts = [
        "".join(
            [*traceback.StackSummary.extract(iter(_own_frames(link))).format(), *traceback.format_exception_only(link)]
        )
        for link in reversed(links)
    ]
    heading = "Traceback (most recent call last), of your own code alone (LMC_DEBUG=1 shows all of it):\n"
    return heading + "\nwhich was the cause of\n\n".join(texts)


def _own_frames(error: BaseException) -> "list[tuple[FrameType, int]]":
    known = _OURS | _LIBRARIES | sys.stdlib_module_names
    frames = traceback.walk_tb(error.__traceback__)
    return [(frame, line) for frame, line in frames if _module_of(frame.f_globals).partition(".")[0] not in known]


def raised_in(error: BaseException, *packages: str) -> bool:
    """Returns whether the innermost frame of an error is in one of the packages."""
    modules = modules_of(error)
    return bool(modules) and f"{modules[-1]}.".startswith(tuple(f"{package}." for package in packages))


def modules_of(error: BaseException) -> list[str]:
    """Returns the module of each frame that an error has come through, that of the innermost last."""
    return [_module_of(frame.f_globals) for frame, _ in traceback.walk_tb(error.__traceback__)]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _module_of(names: Mapping[str, Any]) -> str:
    name, spec = names.get("__name__"), names.get("__spec__")
    return str(spec.name if name == "__main__" and spec is not None else name)  # `python -m lmc_lab.study` is __main__
