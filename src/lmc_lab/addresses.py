"""Where the files of a composed config lie: known without torch, which takes longer to import than most answers."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf

from lmc_lab.configs import config_dir
from lmc_lab.runs.paths import RunPaths
from lmc_lab.runs.split import Split

# By target: the defaults of arguments that a shipped config names and once did not.
_LATER: Mapping[Any, Mapping[str, Any]] = {
    "lmc_lab.tasks.classification.Classification": {"label_smoothing": 0.0},
}


def fingerprint(config: DictConfig) -> str:
    """Returns the short hash of the task subtree: whatever changes the weights changes it, nothing else does.

    What stands at its value in ``conf/task_defaults.yaml`` is left out, so that a new key there changes no address, and so are
    arguments of targets that came later than their addresses (`_LATER`), at their defaults. A
    `_target_` counts as it is written: another name is another model, for all that can be known of it.
    """
    task = cast("dict[str, Any]", OmegaConf.to_container(config.task, resolve=True))
    defaults = _task_defaults()
    content = {key: _earlier(value) for key, value in task.items() if key not in defaults or value != defaults[key]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def _earlier(node: Any) -> Any:
    """Returns a node without later arguments at their defaults."""
    later = _LATER.get(node.get("_target_"), {}) if isinstance(node, dict) else {}
    return {key: value for key, value in node.items() if key not in later or value != later[key]} if later else node


def paths_of(config: DictConfig) -> RunPaths:
    """Returns where the files of the config's task lie."""
    return RunPaths.of(Path(config.output_dir).absolute(), config.task.name, fingerprint(config))


def listed(value: Any) -> list[Any]:
    """Returns the values of a key that may have one or a list of them."""
    return list(value) if isinstance(value, ListConfig | list) else [value]


def split_of(config: DictConfig, trunk_seed: int, step: int) -> Split:
    """Returns the split at `step` of a trunk, with branches as the config has them."""
    return Split(trunk_seed, step, config.branch_length, config.carry_optimizer_state, described(config))


def described(config: DictConfig) -> dict[str, Any]:
    """Returns how the branches of a split are made, as plain data, without what is default."""
    branch = cast("dict[str, Any]", OmegaConf.to_container(config.branch, resolve=True))
    return {key: value for key, value in branch.items() if value}


@cache
def _task_defaults() -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.load(config_dir() / "task_defaults.yaml")))
