"""The config of a job of a sweep, which its worker composes anew only where it has to: that takes 0.06 to 0.2 s."""

import copy
import re
from collections.abc import Collection, Sequence

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

_WHOLE_NUMBER = re.compile(r"(?P<key>[a-z_][\w.]*)=(?P<value>0|[1-9]\d*)")


def sweep_config(
    loader: ConfigLoader, master: DictConfig, overrides: Sequence[str], *, sibling: DictConfig
) -> DictConfig:
    """Returns the config of the job with `overrides`, equal to ``loader.load_sweep_config(master, overrides)``.

    `sibling` is the config of another job of the sweep. Where only whole numbers differ from it (``seed=3``), it is copied and
    they are set.
    """
    changes = whole_numbers(sibling.hydra.overrides.task, overrides, groups=sibling.hydra.runtime.choices)
    if changes is None:
        return loader.load_sweep_config(master, list(overrides))
    config = copy.deepcopy(sibling)
    for key, value in changes.items():
        OmegaConf.update(config, key, value)
    config.hydra.overrides.task = list(overrides)
    config.hydra.job.override_dirname = _dirname(config, overrides)
    return config


def whole_numbers(given: Sequence[str], overrides: Sequence[str], *, groups: Collection[str]) -> dict[str, int] | None:
    """Returns the values, by key, in which `overrides` differ from those `given`.

    None where more than whole numbers differ: a number may also be the name of an option of one of the `groups`.
    """
    if len(given) != len(overrides):
        return None
    changes: dict[str, int] = {}
    for theirs, ours in zip(given, overrides, strict=True):
        if theirs == ours:
            continue
        match = _WHOLE_NUMBER.fullmatch(ours)
        if not match or theirs.partition("=")[0] != match["key"] or match["key"] in groups:
            return None
        changes[match["key"]] = int(match["value"])
    return changes


def _dirname(config: DictConfig, overrides: Sequence[str]) -> str:
    """Returns what ``${hydra:job.override_dirname}`` is."""
    style = config.hydra.job.config.override_dirname
    kept = [item for item in overrides if item.partition("=")[0].lstrip("+~") not in style.exclude_keys]
    return str(style.item_sep).join(sorted(kept)).replace("=", style.kv_sep)
