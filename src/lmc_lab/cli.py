"""What the four entry points share: the order of arguments, where conf/ is, and errors as one sentence."""

import errno
import functools
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lmc_lab import termination
from lmc_lab.errors import UserError, nearest

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
# A child that inherited these would log into its parent's run.
_OF_ONE_RUN = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SERVICE")
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
            _print_help(config_name)
        else:
            _run(config_name, job)
    except BaseException as error:
        if interrupts or isinstance(error, KeyboardInterrupt):
            print(f"lmc_lab: interrupted; go on with: {this_command()}", file=sys.stderr)
            sys.exit(130)
        if isinstance(error, SystemExit) and error.code == termination.EXIT_CODE:
            print(f"lmc_lab: terminated; go on with: {this_command()}", file=sys.stderr)
            raise
        text = None if os.environ.get("LMC_DEBUG") else sentence(error, config_name)
        if text is None:
            raise
        print(f"lmc_lab: {text}", file=sys.stderr)
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


def _print_help(config_name: str) -> None:
    from lmc_lab.help_page import help_page

    overrides = list(takewhile(lambda argument: not argument.startswith("-"), sys.argv[1:]))
    print(help_page(config_name, overrides, [*map(Path, config_dir_flags()[1:]), config_dir()]))


def config_dir() -> Path:
    """Returns conf/: inside an installed package, at the top of a checkout otherwise."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def overrides_first(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with all overrides before all flags: Hydra 1.3 refuses them on both sides of ``-m``."""
    overrides: list[str] = []
    flags: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flags.append(argument)
        takes_value = argument in _FLAGS_WITH_VALUE or (argument in ("-i", "--info") and rest and "=" not in rest[0])
        if takes_value and rest:
            flags.append(rest.pop(0))
    return overrides + flags


def config_dir_flags() -> list[str]:
    """Returns this command's own --config-dir, for a command started from here."""
    arguments = sys.argv[1:]
    flags: list[str] = []
    for i, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("-cd", "--config-dir"):
            flags = ["--config-dir", value or arguments[i + 1]]
    return flags


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

    def watch() -> None:
        while str(os.getppid()) == parent:
            time.sleep(0.5)
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()


def sentence(error: BaseException, config_name: str = "") -> str | None:
    """Returns what was expected, what was found and what to do, or None if `error` is not the user's to mend.

    Args:
        error: what went wrong.
        config_name: the primary config of the command, where it may matter.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and _is_lack_of_space(error):
        return _no_space(error.filename)
    if isinstance(error, OSError) and error.filename is not None:
        return f"expected to read and write {error.filename}, found '{error.strerror}'; mend its permissions or set output_dir"
    if isinstance(error, ValueError) and str(error).startswith(
        "expected "
    ):  # of the pure functions: arguments are settings
        return str(error)
    if type(error).__name__ == "MisconfigurationException":  # Lightning's; importing it would take seconds
        return f"expected a trainer that this machine can run, found: {error}; try trainer=cpu"
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        return sentence(
            error.__cause__, config_name
        )  # of a constructor, a user's own perhaps: a traceback unless it is one of ours
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _config_error(str(error) + (f"\n{error.__cause__}" if error.__cause__ else ""), config_name)
    return None


def _is_lack_of_space(error: OSError) -> bool:
    # numpy writes arrays with C's fwrite and knows no errno: "1000 requested and 0 written".
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "requested and" in str(error)


def _no_space(path: Any) -> str:
    return f"expected room on the disk to write {path or 'a file'}, found none; free some or set output_dir to another disk"


def _config_error(text: str, config_name: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if match := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        group, name = match.groups()
        return f"expected a config of the group '{group}', found '{name}'; {nearest(name, _options(group))}"
    if match := re.search(r"Key '([^']+)' is not in struct", text) or re.search(r"Could not override '([^']+)'", text):
        override = re.search(r"Could not override '([^']+)'", text)
        return _unknown_key(override[1] if override else match[1], config_name)
    return f"expected overrides that the config takes, found: {' '.join(lines)}; --help lists the keys"


def _unknown_key(key: str, config_name: str) -> str:
    if key not in config_keys() and not (config_dir() / key).is_dir():
        return f"expected a key of the config, found '{key}'; {nearest(key, config_keys())}"
    if config_name in ("study", "report") and key.partition(".")[0] in ("task", "run", "trainer"):
        return f"expected a key of the study's own config, found '{key}', which is its tasks'; write 'overrides=[\"{key}=…\"]'"
    return f"expected a key of the config, found '{key}', which only other configs have; --help lists this one's"


def _options(group: str) -> list[str]:
    return [path.stem for path in (config_dir() / group).glob("*.yaml")] or [
        path.name for path in config_dir().iterdir()
    ]


def config_keys() -> set[str]:
    """Returns every key of every shipped config, as it is written in an override."""
    keys: set[str] = set()
    for path in config_dir().rglob("*.yaml"):
        package = re.match(r"# @package (\S+)", path.read_text())
        parent = package[1].split(".") if package else path.relative_to(config_dir()).parent.parts
        node = OmegaConf.load(path)
        keys |= {".".join((*parent, key)) for key in _leaves(OmegaConf.to_container(node))}
    return keys


def _leaves(node: Any) -> list[str]:
    if not isinstance(node, dict):
        return []
    inner = [f"{key}.{leaf}" for key, value in node.items() for leaf in _leaves(value)]
    return [str(key) for key in node if key != "defaults"] + inner
