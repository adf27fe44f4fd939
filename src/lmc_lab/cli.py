"""What the entry points with a config share: the order of arguments, and errors as one sentence."""

import functools
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import hydra
from omegaconf import DictConfig

from lmc_lab import termination
from lmc_lab.configs import config_dir, folders, overrides
from lmc_lab.errors import UserError, nearest, traceback_of
from lmc_lab.process import end_after
from lmc_lab.sentences import sentence

_FLAGS_WITH_VALUE = frozenset(
    [
        "-c",
        "--cfg",
        "-p",
        "--package",
        "-cp",
        "--config-path",
        "-cn",
        "--config-name",
        "-cd",
        "--config-dir",
        "--experimental-rerun",
    ]
)
_FLAGS = _FLAGS_WITH_VALUE | {
    "-h", "--help", "--hydra-help", "--version", "--resolve", "-r", "--run", "-m", "--multirun", "-i", "--info", "-sc",
    "--shell-completion",
}  # fmt: skip
_FLAGS_THAT_PRINT = frozenset(["-c", "--cfg", "-i", "--info"])
# A child that inherited these would log into its parent's run.
_OF_ONE_RUN = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_SERVICE")
_PARENT = "LMC_PARENT_PID"  # set for a process that must not outlive the one that started it


def main(config_name: str, job: Callable[[DictConfig], None]) -> None:
    """Runs `job` with the primary config `config_name`; what the user can mend is one sentence and exit code 1."""
    sys.argv[1:] = overrides_first(sys.argv[1:])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # lets errors reach this function
    sys.path.insert(0, os.getcwd())  # as `python -m` does: a task of one's own is found by the programs, too
    _end_with_parent()
    termination.handle_sigterm()
    interrupts = _remember_interrupts()
    try:
        if {"-h", "--help"} & set(sys.argv):
            with _read_as_far_as_wanted():
                _print_help(config_name)
        else:
            _check_flags(sys.argv[1:])
            _check_threads()
            with _read_as_far_as_wanted() if _FLAGS_THAT_PRINT & set(sys.argv) else nullcontext():
                _run(config_name, job)
    except BaseException as error:
        if interrupts or isinstance(error, KeyboardInterrupt):
            print(f"lmc_lab: interrupted; go on with: {this_command()}", file=sys.stderr)
            sys.exit(130)
        if isinstance(error, SystemExit) and error.code == termination.EXIT_CODE:
            print(f"lmc_lab: terminated; go on with: {this_command()}", file=sys.stderr)
            raise
        text = sentence(error, config_name)
        if text is None and not isinstance(error, Exception):
            raise
        print(traceback_of(error) if text is None else f"lmc_lab: {text}", file=sys.stderr)
        sys.exit(1)


def _remember_interrupts() -> list[int]:
    """Returns the list to which each Ctrl-C is added: Lightning makes an exit of it, OmegaConf now and then an error."""
    interrupts: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in the background
        signal.signal(signal.SIGINT, remember)
    return interrupts


def _check_flags(arguments: Sequence[str]) -> None:
    """Refuses a flag that is none of Hydra's, whose parser would show its usage."""
    for argument in arguments:
        name = argument.partition("=")[0]
        if re.match(r"--[A-Za-z]", name) and name not in _FLAGS:
            raise UserError(
                f"expected a flag of Hydra, found '{name}'; {nearest(name, _FLAGS, '--help lists the keys')}"
            )


def _check_threads() -> None:
    """Refuses an ``OMP_NUM_THREADS`` that is no number of threads: torch would ignore it, and take all cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given and not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", given.replace(" ", "")):
        raise UserError(f"expected OMP_NUM_THREADS to be a whole number >= 1, found '{given}'; change it or unset it")


def _run(config_name: str, job: Callable[[DictConfig], None]) -> None:
    errors: list[Exception] = []

    @functools.wraps(job)
    def keep_error(config: DictConfig) -> None:  # Hydra would print lines of its own about an error that it sees
        try:
            job(config)
        except Exception as error:
            errors.append(error)

    is_sweep = {"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(sys.argv)
    run = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)
    run(job if is_sweep else keep_error)()
    if errors:
        raise errors[0]


@contextmanager
def _read_as_far_as_wanted() -> Iterator[None]:
    """Ends quietly what only prints where its reader has left, as ``| head`` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end


def _print_help(config_name: str) -> None:
    from lmc_lab.help_page import help_page

    print(help_page(config_name, overrides(), folders()))


def overrides_first(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with all overrides before all flags: Hydra 1.3 refuses them on both sides of ``-m``."""
    first: list[str] = []
    flags: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            first.append(argument)
            continue
        flags.append(argument)
        takes_value = argument in _FLAGS_WITH_VALUE or (argument in ("-i", "--info") and rest and "=" not in rest[0])
        if takes_value and rest:
            flags.append(rest.pop(0))
    return first + flags


def this_command() -> str:
    """Returns the command line of this process as the user may type it again."""
    module = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = f"python -m {module.name}" if module else Path(sys.argv[0]).name
    return f"{program} {shlex.join(sys.argv[1:])}"


def child_environment() -> dict[str, str]:
    """Returns the environment of a process that ends when this one does."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_ONE_RUN}
    return inherited | {_PARENT: str(os.getpid())}


def _end_with_parent() -> None:
    parent = os.environ.pop(_PARENT, None)

    def wait() -> None:
        while str(os.getppid()) == parent:
            time.sleep(0.5)

    if parent is not None:
        end_after(wait)
