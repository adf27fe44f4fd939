import dis
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from types import FrameType, TracebackType

# Whose functions take settings of the user's and refuse them; what any other code raises in between is its author's matter.
_OURS = frozenset({"lmc_lab", "hydra_plugins"})
_LIBRARIES = frozenset(
    {
        "PIL", "antlr4", "cloudpickle", "filelock", "fsspec", "hydra", "lightning", "lightning_fabric", "lightning_utilities",
        "matplotlib", "mnist1d", "numpy", "omegaconf", "pandas", "pyarrow", "safetensors", "scipy",
        "torch", "torchmetrics", "torchvision", "tqdm", "wandb", "yaml",
    }
)  # fmt: skip
_PURE = ("lmc_lab.landscape", "lmc_lab.models")


class UserError(Exception):
    """What the user can mend: one sentence with what was expected, what was found and what to do."""


def nearest(name: str, valid: Iterable[str], otherwise: str | None = None) -> str:
    """Returns ``did you mean 'lenet'?`` for the closest valid name, else what to do `otherwise`: by default all names."""
    names = sorted(set(valid))
    close = closest(name, names)
    return f"did you mean '{close}'?" if close else otherwise or f"choose one of: {', '.join(names)}"


def closest(name: str, valid: Iterable[str]) -> str | None:
    """Returns the valid name that `name` may have been meant to be, if there is one."""
    return next(iter(get_close_matches(name, sorted(set(valid)), n=1, cutoff=0.5)), None)


def one_line(error: BaseException) -> str:
    """Returns the message of an error of someone else's, or its name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def is_users_own(error: BaseException) -> bool:
    """Returns whether an error, or the one behind it, was raised by code of the user's or by what that called.

    Such an error keeps its traceback, which says where: it is a mistake in a program, not in a setting.
    """
    known = _OURS | _LIBRARIES | sys.stdlib_module_names
    frames = (frame for link in _chain(error) for frame, _ in _frames(link.__traceback__))
    return any(_module_of(frame).partition(".")[0] not in known for frame in frames)


def refuses_arguments(error: BaseException) -> bool:
    """Returns whether a pure function of this package raised `error` about arguments, which are settings."""
    if not isinstance(error, ValueError) or not raised_in(error, *_PURE) or is_users_own(error):
        return False
    frame, instruction = list(_frames(error.__traceback__))[-1]
    return frame.f_code.co_code[instruction] == dis.opmap["RAISE_VARARGS"]  # there, and not in a C function


def raised_in(error: BaseException, *packages: str) -> bool:
    """Returns whether the innermost frame of an error is in one of the packages."""
    frames = list(_frames(error.__traceback__))
    module = f"{_module_of(frames[-1][0])}." if frames else ""
    return module.startswith(tuple(f"{package}." for package in packages))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _module_of(frame: FrameType) -> str:
    name, spec = frame.f_globals.get("__name__"), frame.f_globals.get("__spec__")
    return str(
        spec.name if name == "__main__" and spec is not None else name
    )  # `python -m lmc_lab.study` runs as __main__


def _frames(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """Yields each frame with its last instruction, the innermost last."""
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lasti
        traceback = traceback.tb_next
