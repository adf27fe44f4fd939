"""The page behind ``--help``: every group and every key, with the comments beside top-level keys in conf/.

Hydra's own page takes a second, since it composes the list of groups anew for each of them, and leaves the comments out.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from lmc_lab.configs import composed, groups

_FLAGS = """\
-m, --multirun       every combination of the values given: seed=0,1,2 or 'seed=range(20)', 'split_step=0,200,2000'
--cfg job            print the config of a command and end; with --resolve, its references looked up
-cd, --config-dir    a folder of further configs: a task of one's own
-sc install=bash     what a shell evaluates to complete keys by tab
--hydra-help         Hydra's own flags"""
_KEY = re.compile(r"(?P<indent> *)(?P<name>[\w-]+):")
_COMMENTED = re.compile(r"(?P<name>[\w-]+):.*?\s# (?P<comment>.+)")


def help_page(config_name: str, overrides: Sequence[str], folders: Sequence[Path]) -> str:
    """Returns the page for the primary config `config_name` under `overrides`; `folders` are searched in their order.

    Raises:
        HydraException: `overrides` do not compose.
    """
    config = composed(config_name, overrides, folders)
    chosen = [f"{group}/{choice}" for group, choice in config.hydra.runtime.choices.items() if choice]
    with open_dict(config):
        del config.hydra
    comments = _comments(folders, [config_name, "base", "places", *chosen])
    options = "\n".join(f"{group}: {', '.join(names)}" for group, names in groups(folders).items())
    return "\n\n".join(
        [
            _head(folders[-1] / f"{config_name}.yaml"),
            f"Flags\n{_FLAGS}",
            f"Groups, chosen with group=option\n{options}",
            f"Keys, set with key.below.key=value\n{_annotated(config, comments)}",
        ]
    )


def _head(path: Path) -> str:
    lines = path.read_text().splitlines()
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines if line.startswith("#"))


def _comments(folders: Sequence[Path], names: Sequence[str]) -> dict[str, str]:
    """Returns the comment beside each key at the top level of the configs `names`, by the key's path."""
    comments: dict[str, str] = {}
    for name in names:
        package = name.split("/")[:-1]
        path = next((folder / f"{name}.yaml" for folder in folders if (folder / f"{name}.yaml").exists()), None)
        for line in path.read_text().splitlines() if path else []:
            if match := _COMMENTED.match(line):
                comments[".".join([*package, match["name"]])] = match["comment"]
    return comments


def _annotated(config: DictConfig, comments: dict[str, str]) -> str:
    lines = _with_paths(OmegaConf.to_yaml(config))
    return "\n".join(f"{line}  # {comments[path]}" if path in comments else line for path, line in lines)


def _with_paths(text: str) -> Iterator[tuple[str, str]]:
    """Yields each line of a config with the path of its key ("" for a line without one)."""
    parents: list[str] = []
    for line in text.splitlines():
        match = _KEY.match(line)
        if match:
            parents = [*parents[: len(match["indent"]) // 2], match["name"]]
        yield (".".join(parents) if match else "", line)
