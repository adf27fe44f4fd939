"""Overrides on a command line: what they are about."""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lmc_lab.errors import UserError
from lmc_lab.tuning.parameters import Values
from lmc_lab.values import override_text


def key_of(override: str) -> str:
    """Returns the key, or the group, that an override is about."""
    return override.partition("=")[0].lstrip("+~")


def without_hydras(overrides: Iterable[str]) -> list[str]:
    """Returns overrides without Hydra's own, which `compose` does not take."""
    return [item for item in overrides if not re.match(r"hydra\b", key_of(item))]


def task_values(overrides: Sequence[str]) -> Values:
    """Returns the values of the task's keys on a command line: ``+task.optimizer.lr=0.1``.

    Raises:
        UserError: another task is asked for.
    """
    for item in overrides:
        if re.match(r"task(/|$)", key_of(item)):
            raise UserError(
                f"expected keys of the task beside the study, found {item}; write 'overrides=[\"{item.lstrip('+')}\"]'"
            )
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    values: dict[str, Any] = {
        item.key_or_group: item.value() for item in parsed if item.key_or_group.startswith("task.")
    }
    is_of_agent = "WANDB_SWEEP_ID" in os.environ  # which writes null as Python does
    return {key: None if is_of_agent and value == "None" else value for key, value in values.items()}


def settings_of(values: Values, task: DictConfig) -> list[str]:
    """Returns values as they are typed: ``task.optimizer.lr=0.1``, with a plus for arguments left to defaults.

    Args:
        values: by key, ``task.optimizer.lr``.
        task: the subtree `task` of the config.
    """
    known = OmegaConf.create({"task": task})
    return [
        f"{'+' if _is_new_argument(key, known) else ''}{key}={override_text(value)}" for key, value in values.items()
    ]


def _is_new_argument(key: str, config: DictConfig) -> bool:
    """Returns whether a key is not in a node that has a `_target_`, which may take it as an argument."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent)
    return isinstance(node, DictConfig) and "_target_" in node and name not in node
