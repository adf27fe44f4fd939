"""Which configs there are: those of conf/ and of the user's ``--config-dir``, their groups, options and keys."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from lmc_lab.values import override_text


def config_dir() -> Path:
    """Returns conf/: inside an installed package, at the top of a checkout otherwise."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def config_dir_flags() -> list[str]:
    """Returns this command's own --config-dir, for a command started from here."""
    arguments = sys.argv[1:]
    flags: list[str] = []
    for i, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("-cd", "--config-dir"):
            flags = ["--config-dir", value or "".join(arguments[i + 1 : i + 2])]
    return flags


def overrides() -> list[str]:
    """Returns the overrides of this command, which stand before its flags (`cli.overrides_first`)."""
    return list(takewhile(lambda argument: not argument.startswith("-"), sys.argv[1:]))


def folders() -> list[Path]:
    """Returns where this command finds configs, in the order of the search."""
    return [*map(Path, config_dir_flags()[1:]), config_dir()]


def composed(config_name: str, given: Sequence[str], search: Sequence[Path]) -> DictConfig:
    """Returns the primary config `config_name` under the overrides `given`, with Hydra's own keys.

    Args:
        config_name: of the shipped configs.
        given: overrides.
        search: folders in the order of the search, that of the shipped configs last.

    Raises:
        HydraException: they do not compose.
    """
    *further, shipped = [folder.resolve() for folder in search]
    path = [f"hydra.searchpath={override_text([f'file://{folder}' for folder in further])}"] if further else []
    running = GlobalHydra.instance().hydra  # in the middle of which an error may have occurred
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(shipped), version_base="1.3"):
            return compose(config_name, [*given, *path], return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = running


def groups(search: Iterable[Path]) -> dict[str, list[str]]:
    """Returns the options of each group, both in alphabetical order."""
    options: dict[str, set[str]] = {}
    for folder in search:
        for path in folder.rglob("*.yaml"):
            group = path.relative_to(folder).parent.as_posix()
            if group != "." and not group.startswith("hydra"):
                options.setdefault(group, set()).add(path.stem)
    return {group: sorted(options[group]) for group in sorted(options)}


def chosen(config_name: str) -> DictConfig:
    """Returns the primary config with the options that this command chooses, if they compose, else with its defaults."""
    search = folders()
    options = groups(search)
    choices = [override for override in overrides() if override.partition("=")[0] in options]
    try:
        return composed(config_name, choices, search)
    except Exception:  # whatever is wrong with a choice, Hydra has said it
        return composed(config_name, [], search)


def keys(config_name: str) -> set[str]:
    """Returns every key that an override of this command may set, and every group of which it may choose an option."""
    config = chosen(config_name)
    groups_of_command = {group for group in config.hydra.runtime.choices if not group.startswith("hydra")}
    content = OmegaConf.to_container(config)
    assert isinstance(content, dict)
    return groups_of_command | {path for path in _paths(content) if path.partition(".")[0] != "hydra"}


def _paths(node: Any) -> Iterator[str]:
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        yield str(key)
        yield from (f"{key}.{path}" for path in _paths(value))
